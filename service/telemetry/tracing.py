"""Traces by OpenTelemetry: a span for each request, and inside it a span for each phase of the inference.

This module needs the extra ``tracing``. OpenTelemetry's own environment variables, such as
OTEL_EXPORTER_OTLP_ENDPOINT and OTEL_SERVICE_NAME, set the destination of the spans (OpenTelemetry specification,
"Environment Variables").
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Thread

from fastapi.telemetry import TelemetryConfig
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind
from starlette.types import Scope

from service.engine.request import EngineRequest, Phases
from service.telemetry import context
from service.telemetry.access import MONITORING

CLOSE_SECONDS = 1.0
"""Longest time that the service waits for a collector when it stops."""


class Tracing:
    """Makes spans and exports them in a thread of its own."""

    def __init__(self) -> None:
        named = Resource.create({SERVICE_NAME: "odenet"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("odenet")

    @property
    def config(self) -> TelemetryConfig:
        """The configuration of FastAPI, which makes the spans of requests in the caller's trace (W3C Trace Context)."""
        return {
            "tracer_provider": self._provider,
            "operation_spans": False,
            "metrics": False,
            "logs": False,
            "exclude": _is_monitoring,
        }

    @contextmanager
    def call(self, method: str, metadata: Mapping[str, str]) -> Iterator[None]:
        """Make the span of a gRPC call in the caller's trace (OpenTelemetry, "Semantic conventions for gRPC")."""
        service, name = method.strip("/").split("/", 1)
        facts = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
        with self._tracer.start_as_current_span(
            f"{service}/{name}", extract(metadata), SpanKind.SERVER, facts, record_exception=False
        ):
            yield

    def ended(self, request: EngineRequest) -> None:
        """Make the spans of a request for inference that has ended, inside the current span."""
        if (phases := request.phases) is None:
            return
        at = time.time_ns() - int(1e9 * (time.perf_counter() - request.arrived_at))
        facts: dict[str, str | int] = {
            "odenet.request_id": str(context.current().request_id),
            "odenet.model": request.model.name,
            "odenet.version": request.model.version,
            "odenet.images": len(request.images),
            "odenet.nfe": int(request.answer.nfe.sum()),
            "odenet.escalated": sum(request.escalated),
            "odenet.degraded": sum(request.degraded),
        }
        for name, seconds in zip(Phases._fields, phases, strict=True):
            span = self._tracer.start_span(name, start_time=at, attributes=facts)
            at += int(1e9 * seconds)
            span.end(end_time=at)

    def close(self) -> None:
        """Export the remaining spans, as far as the collector accepts them in time."""
        closing = Thread(target=self._provider.shutdown, daemon=True)  # a daemon, so that it does not delay the exit
        closing.start()
        closing.join(CLOSE_SECONDS)


def _is_monitoring(scope: Scope) -> bool:
    return str(scope["path"]).startswith(MONITORING)
