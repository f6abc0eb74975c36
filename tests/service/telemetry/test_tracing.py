"""The service exports the spans of requests to a collector by OTLP over HTTP."""

import itertools
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tritonclient.grpc.service_pb2 import ServerReadyRequest
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from benchmarks.serving.servers import free_port
from service.security.keys import Scope, make_key
from tests.digits import load_test_set
from tests.service.rpc.infer_messages import message
from tests.serving import TWO_MODELS, running, start
from tests.waiting import HANG

pytestmark = pytest.mark.system

DIGITS = load_test_set()[0]
PIXELS = {"content-type": "application/octet-stream"}
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GRPC_CALLER = "b7ad6b7169203331"
PHASES = ["decode", "queue", "stem", "solve", "head"]


@dataclass
class Collector:
    """The services and the spans that were exported to a URL."""

    url: str
    services: set[str] = field(default_factory=set)
    spans: list[Span] = field(default_factory=list)


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["content-length"]))
            for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
                named = {each.key: each.value.string_value for each in resource.resource.attributes}
                collector.services.add(named["service.name"])
                collector.spans += [span for scope in resource.scope_spans for span in scope.spans]
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield collector
        server.shutdown()


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[Collector, float]]:
    """The spans of some requests after the service has ended, and the duration of the traced request in ns."""
    with collecting() as collector:
        with (
            running(
                "--traces",
                "--grpc-port",
                str(free_port()),
                models=TWO_MODELS,
                OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            ) as service,
            service.client() as client,
        ):
            caller = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "traced"}
            before = time.perf_counter_ns()
            answer = client.post("/predict?tolerance=1e-4", content=DIGITS[:3].tobytes(), headers=PIXELS | caller)
            took = time.perf_counter_ns() - before
            assert answer.status_code == 200
            assert client.post("/predict?tolerance=0", content=DIGITS[0].tobytes(), headers=PIXELS).status_code == 422
            with grpc.insecure_channel(service.grpc_address()) as channel:
                stub, caller = GRPCInferenceServiceStub(channel), {"traceparent": f"00-{TRACE}-{GRPC_CALLER}-01"}
                stub.ModelInfer(message(DIGITS[:1]), metadata=list(caller.items()), timeout=HANG)
                stub.ServerReady(ServerReadyRequest(), timeout=HANG)
            for path in ("/health/ready", "/v2/health/live", "/metrics"):
                assert client.get(path).status_code == 200
        yield collector, took


def attributes_of(span: Span) -> dict[str, object]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in span.attributes}


def test_a_request_is_a_span_in_the_trace_of_its_caller(collected: tuple[Collector, float]) -> None:
    collector, _ = collected
    (span,) = [each for each in collector.spans if each.parent_span_id.hex() == CALLER]
    assert span.trace_id.hex() == TRACE
    assert span.name == "POST /predict"
    assert span.kind == Span.SPAN_KIND_SERVER
    attributes = attributes_of(span)
    assert attributes["http.route"] == "/predict"
    assert attributes["http.response.status_code"] == 200
    assert collector.services == {"odenet"}


def test_the_phases_are_consecutive_spans_inside_the_request(collected: tuple[Collector, float]) -> None:
    collector, took = collected
    (request,) = [each for each in collector.spans if each.parent_span_id.hex() == CALLER]
    phases = [each for each in collector.spans if each.parent_span_id == request.span_id]
    assert [phase.name for phase in phases] == PHASES
    for phase, following in itertools.pairwise(phases):
        assert phase.start_time_unix_nano <= phase.end_time_unix_nano == following.start_time_unix_nano
    assert sum(phase.end_time_unix_nano - phase.start_time_unix_nano for phase in phases) < took
    attributes = attributes_of(phases[3])
    assert (attributes["odenet.model"], attributes["odenet.images"]) == ("odenet-mnist", 3)
    assert attributes["odenet.request_id"] == "traced"
    assert isinstance(attributes["odenet.nfe"], int)
    assert attributes["odenet.nfe"] > 3


def test_a_refused_request_has_no_phases_and_a_monitoring_request_has_no_span(
    collected: tuple[Collector, float],
) -> None:
    collector, _ = collected
    roots = [each for each in collector.spans if not each.parent_span_id]
    assert [(each.name, attributes_of(each)["http.response.status_code"]) for each in roots] == [("POST /predict", 422)]
    assert len(collector.spans) == 3 + 2 * len(PHASES)


def test_a_grpc_call_is_a_span_in_the_trace_of_its_caller(collected: tuple[Collector, float]) -> None:
    collector, _ = collected
    (span,) = [each for each in collector.spans if each.parent_span_id.hex() == GRPC_CALLER]
    assert span.name == "inference.GRPCInferenceService/ModelInfer"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert attributes_of(span)["rpc.method"] == "ModelInfer"
    assert [each.name for each in collector.spans if each.parent_span_id == span.span_id] == PHASES


def test_a_refused_key_is_a_span_with_its_status(tmp_path: Path) -> None:
    _, entry = make_key("anna", frozenset({Scope.predict}))
    (tmp_path / "keys.toml").write_text(entry)
    flags = ("--traces", "--model", "mlp", "--api-key-file", str(tmp_path / "keys.toml"))
    with collecting() as collector:
        with running(*flags, OTEL_EXPORTER_OTLP_ENDPOINT=collector.url) as service, service.client() as client:
            assert client.post("/predict", content=DIGITS[0].tobytes(), headers=PIXELS).status_code == 401
        (span,) = collector.spans
        assert attributes_of(span)["http.response.status_code"] == 401


def test_without_a_collector_requests_are_answered() -> None:
    with (
        running(
            "--traces", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_TIMEOUT="1"
        ) as service,
        service.client() as client,
    ):
        assert client.post("/predict", content=DIGITS[0].tobytes(), headers=PIXELS).status_code == 200
    assert any("Application shutdown complete" in line for line in service.log)


def test_a_collector_that_does_not_answer_does_not_delay_the_end_of_the_service() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with (
            running("--traces", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="3600") as service,
            service.client() as client,
        ):
            assert client.post("/predict", content=DIGITS[0].tobytes(), headers=PIXELS).status_code == 200
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(timeout=HANG) in {0, -signal.SIGTERM}, (
                "the service does not wait for the collector's timeout of an hour"
            )


def test_without_the_extra_tracing_the_service_names_it_and_does_not_start(tmp_path: Path) -> None:
    missing = tmp_path / "opentelemetry" / "sdk" / "__init__.py"
    missing.parent.mkdir(parents=True)
    missing.write_text("raise ImportError('it is not there')")
    process = start("--traces", "--port", "0", ODENET_WORKERS="1", PYTHONPATH=str(tmp_path))
    assert process.stderr is not None
    with process:
        log = process.stderr.read()
    assert process.returncode == 3
    assert "error: traces: the extra tracing is not installed" in log
    assert "Traceback" not in log
