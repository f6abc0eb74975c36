"""Traces by OpenTelemetry: a span for each request, and in it one for each phase of its inference.

Needs the extra ``tracing``. Where the spans go is set by OpenTelemetry's own variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME (OpenTelemetry specification, "Environment Variables").
"""

import time
from threading import Thread

from fastapi.telemetry import TelemetryConfig
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from starlette.types import Scope

from service.engine.request import EngineRequest, Phases
from service.telemetry import context
from service.telemetry.middleware import WATCHING

CLOSE_SECONDS = 1.0
"""For which the end of the service waits for a collector."""


class Tracing:
    """Makes spans, and exports them beside what goes on."""

    def __init__(self) -> None:
        named = Resource.create({SERVICE_NAME: "odenet"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("odenet")

    @property
    def config(self) -> TelemetryConfig:
        """For FastAPI, which makes the spans of requests, in the trace of the caller (W3C Trace Context)."""
        return {
            "tracer_provider": self._provider,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "exclude": _looks_after,
        }

    def ended(self, request: EngineRequest) -> None:
        """Make the spans of a request for inference that has ended, in the span that is current."""
        if (phases := request.phases) is None:
            return
        at = time.time_ns() - int(1e9 * (time.perf_counter() - request.arrived_at))
        facts: dict[str, str | int] = {
            "odenet.request_id": str(context.known().get("request_id")),
            "odenet.model": request.model.name,
            "odenet.version": request.model.version,
            "odenet.images": len(request.images),
            "odenet.nfe": int(request.answer.nfe.sum()),
            "odenet.degraded": sum(request.degraded),
        }
        for name, seconds in zip(Phases._fields, phases, strict=True):
            span = self._tracer.start_span(name, start_time=at, attributes=facts)
            at += int(1e9 * seconds)
            span.end(end_time=at)

    def close(self) -> None:
        """Export what is left, as far as the collector takes it in time."""
        closing = Thread(target=self._provider.shutdown, daemon=True)  # which nobody waits for at the end
        closing.start()
        closing.join(CLOSE_SECONDS)


def _looks_after(scope: Scope) -> bool:
    return str(scope["path"]).startswith(WATCHING)
