"""Traces by OpenTelemetry: a span for each request, and in it one for each phase of its inference.

Needs the extra ``tracing``. Where the spans go is set by OpenTelemetry's own variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME (OpenTelemetry specification, "Environment Variables").
"""

import time

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import ASGIApp

from service.engine.job import Job, Phases

NOT_TRACED = "/health,/v2/health,/metrics"


class Tracing:
    """Makes spans, and exports them beside what goes on."""

    def __init__(self) -> None:
        named = Resource.create({SERVICE_NAME: "odenet"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=named)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("odenet")

    def around(self, app: ASGIApp) -> ASGIApp:
        """The app, with a span for each request, which goes on with the caller's trace (W3C Trace Context)."""
        return OpenTelemetryMiddleware(
            app, excluded_urls=NOT_TRACED, tracer_provider=self._provider, exclude_spans=["receive", "send"]
        )

    def ended(self, job: Job) -> None:
        """Make the spans of a request for inference that has ended, in the span that is current."""
        if (phases := job.phases) is None:
            return
        at = time.time_ns() - int(1e9 * (time.perf_counter() - job.arrived))
        facts: dict[str, str | int | float] = {
            "odenet.model": job.model.name,
            "odenet.version": job.model.version,
            "odenet.rows": len(job.images),
            "odenet.nfe": int(job.answer.nfe.sum()),
            "odenet.degraded": sum(job.degraded),
        }
        for name, seconds in zip(Phases._fields, phases, strict=True):
            child = self._tracer.start_span(name, start_time=at, attributes=facts)
            at += int(1e9 * seconds)
            child.end(end_time=at)

    def close(self) -> None:
        """Export what is left."""
        self._provider.shutdown()
