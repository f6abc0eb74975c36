"""Reports of the load: the fields, the formats, and which answers carry a report."""

import json
from collections.abc import Iterator
from itertools import pairwise

import httpx
import numpy as np
import pytest

from service.engine.engine import Engine
from service.engine.request import Demand, Priority
from service.telemetry.load import WINDOW, LoadReporter
from service.telemetry.metrics import Metrics
from tests.digits import load_test_set
from tests.serving import running

PIXELS = {"content-type": "application/octet-stream"}
FIELDS = {"application_utilization", "cpu_utilization", "rps_fractional", "eps"}
NAMED = {"rows_queued", "rows_inflight", "queued_seconds"}
QUEUE_SECONDS = 2.0


class Process:
    """A worker process with clocks that the test sets.

    Attributes:
        now: the wall clock, in seconds.
        worked: the processor time, in seconds.
    """

    def __init__(self, workers: int = 1, threads: int = 1) -> None:
        self.now = self.worked = 0.0
        self.metrics, self.engine = Metrics(), Engine(QUEUE_SECONDS)
        self._reporter = LoadReporter(
            self.metrics, self.engine, workers, threads, lambda: self.now, lambda: self.worked
        )

    def report(self) -> dict[str, float]:
        """The fields of a report, with the named metrics among them."""
        fields = as_json(self._reporter.headers("json"))
        named: dict[str, float] = fields.pop("named_metrics")  # type: ignore[assignment]
        return {**fields, **named}

    def text(self) -> str:
        """A report in the format TEXT."""
        ((_, value),) = self._reporter.headers("text")
        return value.decode()

    def answer(self, status: int, times: int = 1, method: str = "POST") -> None:
        """Count answered requests."""
        for _ in range(times):
            self.metrics.requested(method, "/predict", status, 0.01)

    def answer_call(self, status: str, method: str = "ModelInfer") -> None:
        """Count an answered gRPC call."""
        self.metrics.called(f"/inference.GRPCInferenceService/{method}", status, 0.01)


def as_json(headers: list[tuple[bytes, bytes]]) -> dict[str, float]:
    """The fields of a report in the format JSON."""
    ((name, value),) = headers
    form, _, content = value.decode().partition(" ")
    assert (name, form) == (b"endpoint-load-metrics", "JSON")
    fields: dict[str, float] = json.loads(content)
    return fields


def as_text(value: str) -> dict[str, float]:
    """The fields of a report in the format TEXT. As for Envoy, a field that comes twice is an error."""
    form, _, content = value.partition(" ")
    assert form == "TEXT"
    pairs = [field.split("=") for field in content.split(",")]
    assert len(pairs) == len({name for name, _ in pairs})
    return {name: float(number) for name, number in pairs}


def test_utilization_is_the_share_of_the_processor_time() -> None:
    process = Process()
    process.now, process.worked = 4.0, 3.0
    report = process.report()
    assert report["cpu_utilization"] == report["application_utilization"] == 0.75


def test_utilization_is_relative_to_the_threads_that_compute() -> None:
    process = Process(threads=2)
    process.now, process.worked = 4.0, 4.0
    assert process.report()["cpu_utilization"] == 0.5


def test_the_share_of_the_queue_that_is_taken_adds_to_the_utilization() -> None:
    process = Process()
    process.now, process.worked = 2.0, 2.0
    process.engine.admission.enter(Demand("caller", Priority.low, rows=6, image_work=250_000_000))
    report = process.report()
    assert report["application_utilization"] == 1 + 1.5 / QUEUE_SECONDS
    assert (report["rows_queued"], report["queued_seconds"], report["rows_inflight"]) == (6, 1.5, 0)


def test_rates_are_scaled_to_all_workers() -> None:
    process = Process(workers=3)
    process.now = 2.0
    process.answer(200, times=8)
    process.answer(503, times=4)
    report = process.report()
    assert (report["rps_fractional"], report["eps"]) == (3 * 8 / 2.0, 3 * 4 / 2.0)


def test_refusals_and_failures_of_the_service_are_errors_and_those_of_the_caller_are_not() -> None:
    process = Process()
    process.now = 1.0
    for status in (429, 500, 503):
        process.answer(status)
    for status in (200, 404, 422, 504):
        process.answer(status)
    report = process.report()
    assert (report["rps_fractional"], report["eps"]) == (4, 3)


def test_grpc_calls_count_like_requests() -> None:
    process = Process()
    process.now = 1.0
    for status in ("RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"):
        process.answer_call(status)
    for status in ("OK", "NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED"):
        process.answer_call(status, "ModelStreamInfer")
    report = process.report()
    assert (report["rps_fractional"], report["eps"]) == (4, 3)


def test_probes_and_scrapes_do_not_count() -> None:
    process = Process()
    process.now = 1.0
    process.answer(200, times=5, method="GET")
    process.answer_call("OK", "ServerLive")
    assert process.report()["rps_fractional"] == 0


def test_rates_are_kept_for_a_window_and_then_measured_anew() -> None:
    process = Process()
    rates = []
    for now, answers in ((WINDOW, 10), (1.5 * WINDOW, 30), (2 * WINDOW, 0), (3 * WINDOW, 0)):
        process.now = now
        process.answer(200, times=answers)
        rates.append(process.report()["rps_fractional"])
    assert rates == [10 / WINDOW, 10 / WINDOW, 30 / WINDOW, 0]
    assert [one != other for one, other in pairwise(rates)] == [False, True, True]


def test_both_formats_have_the_same_fields_and_values() -> None:
    process = Process()
    process.now, process.worked = 3.0, 1.0
    process.answer(200, times=7)
    text = as_text(process.text())
    assert {name.removeprefix("named_metrics."): value for name, value in text.items()} == process.report()
    assert {name for name in text if "." not in name} == FIELDS
    assert {name.removeprefix("named_metrics.") for name in text if "." in name} == NAMED


# The header of an answer.


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running() as service, service.client() as client:
        yield client


def ask(client: httpx.Client, form: str, path: str = "/predict", rows: int = 1) -> httpx.Response:
    digits = np.zeros((rows, 28, 28), np.uint8) if rows > 100 else load_test_set()[0][:rows]
    return client.post(path, content=digits.tobytes(), headers=PIXELS | {"endpoint-load-metrics-format": form})


@pytest.mark.system
@pytest.mark.parametrize("form", ["text", "TEXT", "json", "JSON"])
def test_an_answer_has_a_report_in_the_format_that_the_caller_asks_for(client: httpx.Client, form: str) -> None:
    value = ask(client, form).headers["endpoint-load-metrics"]
    assert value.startswith(f"{form.upper()} ")
    if form.lower() == "text":
        assert as_text(value).keys() > FIELDS
    else:
        assert as_json([(b"endpoint-load-metrics", value.encode())]).keys() == FIELDS | {"named_metrics"}


@pytest.mark.system
@pytest.mark.parametrize(
    ("path", "rows", "status"), [("/predict", 300, 413), ("/nowhere", 1, 404), ("/models", 1, 405)]
)
def test_a_refusal_has_a_report_too(client: httpx.Client, path: str, rows: int, status: int) -> None:
    answer = ask(client, "text", path, rows)
    assert answer.status_code == status
    assert "endpoint-load-metrics" in answer.headers


@pytest.mark.system
def test_an_answer_has_no_report_unless_the_caller_asks_for_a_known_format(client: httpx.Client) -> None:
    plain = client.post("/predict", content=load_test_set()[0][0].tobytes(), headers=PIXELS)
    assert plain.status_code == 200
    assert "endpoint-load-metrics" not in plain.headers
    unknown = ask(client, "bin")
    assert unknown.status_code == 200
    assert "endpoint-load-metrics" not in unknown.headers
