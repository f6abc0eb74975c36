"""The limits, the deadlines and the ends of calls, over a real socket."""

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import httpx
import pytest
from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.metrics import scrape
from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.infer_messages import message, refusal
from tests.serving import ROOT, Running, fork
from tests.waiting import HANG, until

pytestmark = [pytest.mark.system, pytest.mark.xdist_group("grpc")]

TIGHTEST = {"tolerance": 1e-6, "method": "heun2"}


@pytest.fixture
def rest(service: Running) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


def trailing(error: Any) -> dict[str, str]:
    return dict(error.trailing_metadata())


@pytest.mark.parametrize(
    ("request_message", "code", "words"),
    [
        (message(model_name="nothing"), StatusCode.NOT_FOUND, "model: no such model is served"),
        (message(model_version="99"), StatusCode.NOT_FOUND, "version"),
        (message(parameters={"toleranse": 1.0}), StatusCode.INVALID_ARGUMENT, "parameters.toleranse"),
        (message(parameters={"rtol": True}), StatusCode.INVALID_ARGUMENT, "parameters.rtol"),
        (message(DIGITS[:51]), StatusCode.INVALID_ARGUMENT, "inputs.0.shape: at most 50 images"),
        (
            message(DIGITS[:50], parameters={"deadline_ms": 1.0, "tolerance": 1e-6}),
            StatusCode.DEADLINE_EXCEEDED,
            "deadline_ms",
        ),
    ],
    ids=["model", "version", "name of a parameter", "type of a parameter", "images", "deadline_ms"],
)
def test_a_refusal_has_a_code_and_names_the_field(
    channel: grpc.Channel, request_message: Any, code: StatusCode, words: str
) -> None:
    error = refusal(channel, request_message, metadata=[("x-request-id", "mine")])
    assert (error.code(), trailing(error)["x-request-id"]) == (code, "mine")
    assert words in str(error.details())


def test_an_answer_has_the_id_of_its_call(channel: grpc.Channel) -> None:
    _, call = GRPCInferenceServiceStub(channel).ModelInfer.with_call(message(), metadata=[("x-request-id", "mine")])
    assert dict(call.trailing_metadata())["x-request-id"] == "mine"


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    assert refusal(channel, pb.LogSettingsRequest(), "LogSettings").code() == StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ([], "message: is missing"),
        ([b"\xff"], "message: is malformed"),
        ([b"\x2a\x00" * 100_000], "message: at most 1,074 fields"),
    ],
    ids=["none", "malformed", "many fields"],
)
def test_a_call_without_a_message_that_can_be_parsed_is_refused(
    channel: grpc.Channel, content: list[bytes], detail: str
) -> None:
    infer: Any = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    error: Any = infer.future(iter(content)).exception(timeout=HANG)
    assert error.code() == StatusCode.INVALID_ARGUMENT
    assert error.details().startswith(detail)


def test_a_stream_ends_at_a_malformed_message(channel: grpc.Channel) -> None:
    stream: Any = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(iter([b"\xff"]), timeout=HANG))
    assert caught.value.code() == StatusCode.INVALID_ARGUMENT
    assert str(caught.value.details()).startswith("message: is malformed")


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_message_above_the_limit_is_refused_even_if_it_was_compressed(
    channel: grpc.Channel, compression: grpc.Compression
) -> None:
    long = message()
    long.raw_input_contents[0] = bytes(400_001)
    error = refusal(channel, long, compression=compression)
    assert (error.code(), "larger than max" in str(error.details())) == (StatusCode.RESOURCE_EXHAUSTED, True)


def test_a_compressed_message_is_read(channel: grpc.Channel) -> None:
    answer = GRPCInferenceServiceStub(channel).ModelInfer(message(DIGITS[:9]), compression=grpc.Compression.Gzip)
    assert answer.outputs[0].shape == [9, 10]


def test_the_deadline_of_a_call_buys_the_most_precise_answer(channel: grpc.Channel) -> None:
    """As `deadline_ms` does: with time to spare, the service solves more tightly than without a deadline."""
    stub = GRPCInferenceServiceStub(channel)

    def nfe(timeout: float | None, **parameters: Any) -> int:
        answer = stub.ModelInfer(message(typed=True, parameters=parameters), timeout=timeout)
        spent: int = next(each.contents.int64_contents[0] for each in answer.outputs if each.name == "nfe")
        return spent

    once = {"escalate": False}  # otherwise the service solves only the doubtful images more tightly
    assert nfe(HANG, **once) == nfe(None, deadline_ms=600_000, **once) > nfe(None, **once)
    assert nfe(HANG, tolerance=0.1) == nfe(None, tolerance=0.1), "a tolerance decides"


def test_a_deadline_ends_the_call_and_its_computation(channel: grpc.Channel, rest: httpx.Client) -> None:
    before, calls = scrape(rest), itertools.count(1)

    def ended() -> bool:
        """Call again each time, because on a busy machine the deadline may pass before the call reaches the engine."""
        made = next(calls)
        error = refusal(channel, message(DIGITS[:50], parameters=TIGHTEST), timeout=1)
        assert error.code() == StatusCode.DEADLINE_EXCEEDED
        until(lambda: scrape(rest).total("rows_inflight") == 0)
        now = scrape(rest)
        ends = sum(
            now.total("inferences_total", end=end) - before.total("inferences_total", end=end)
            for end in ("expired", "cancelled")
        )
        assert ends <= made, "a call ends once"
        return ends >= 1

    until(ended)


def test_a_cancelled_call_frees_its_images(channel: grpc.Channel, rest: httpx.Client) -> None:
    before = scrape(rest)
    call = GRPCInferenceServiceStub(channel).ModelInfer.future(message(DIGITS[:50], parameters=TIGHTEST))
    until(lambda: scrape(rest).total("rows_inflight") > 0)
    call.cancel()
    until(lambda: scrape(rest).total("cancelled_total") == before.total("cancelled_total") + 1)
    until(lambda: scrape(rest).total("rows_inflight") == 0)
    assert scrape(rest).total("shed_total") == before.total("shed_total"), "a cancelled call is not a refused one"


def test_the_end_of_a_stream_frees_the_images_of_its_requests(channel: grpc.Channel, rest: httpx.Client) -> None:
    before, done = scrape(rest), Event()

    def requests() -> Iterator[Any]:
        yield message(DIGITS[:50], parameters=TIGHTEST)
        done.wait(HANG)

    stream = GRPCInferenceServiceStub(channel).ModelStreamInfer(requests())
    until(lambda: scrape(rest).total("rows_inflight") > 0)
    stream.cancel()
    done.set()
    until(lambda: scrape(rest).total("cancelled_total") == before.total("cancelled_total") + 1)


def test_the_health_service_knows_the_names_that_it_reports(channel: grpc.Channel) -> None:
    stub = HealthStub(channel)
    for name in ("", "inference.GRPCInferenceService"):
        assert stub.Check(HealthCheckRequest(service=name)).status == HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(HealthCheckRequest(service="other"))
    assert caught.value.details() == "service: must be empty or inference.GRPCInferenceService; it is other"
    assert caught.value.code() == StatusCode.NOT_FOUND


def test_calls_are_counted_by_method_and_status(channel: grpc.Channel, rest: httpx.Client) -> None:
    method = "/inference.GRPCInferenceService/ModelInfer"
    before = scrape(rest)
    GRPCInferenceServiceStub(channel).ModelInfer(message(model_name="mlp"))
    refusal(channel, message(model_name="nothing"))
    after = scrape(rest)
    for status in ("OK", "NOT_FOUND"):
        labels = {"method": method, "status": status}
        name = "grpc_duration_seconds_count"
        assert after.total(name, **labels) == before.total(name, **labels) + 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no SCHED_BATCH")
def test_the_threads_of_grpc_interrupt_no_other_thread(service: Running) -> None:
    tasks = list(Path("/proc", str(service.process.pid), "task").iterdir())
    names = {int(task.name): (task / "comm").read_text().strip() for task in tasks}
    policies = {os.sched_getscheduler(thread) for thread, name in names.items() if name.startswith("event_engine")}
    assert policies == {os.SCHED_BATCH}
    assert os.sched_getscheduler(service.process.pid) == os.SCHED_OTHER


def test_without_the_extra_the_service_says_in_a_line_what_to_install() -> None:
    program = "import sys; sys.modules['grpc_reflection'] = None; sys.argv[1:] = ['--port', '0', '--grpc-port', '0']"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; from service.__main__ import main; main()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG,
        check=False,
    )
    error = "error: grpc_port: needs the extra grpc; run pip install '.[grpc]' (missing: grpc_reflection)\n"
    assert (done.returncode, done.stderr.endswith(error)) == (3, True), done.stderr


def test_a_port_in_use_ends_the_start() -> None:
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = str(used.getsockname()[1])
        process = fork("--port", "0", "--grpc-port", port, ODENET_WORKERS="1")
        assert process.wait(HANG) == 3
        with process.stderr:
            error = process.stderr.read()
    assert f"error: grpc_port: another program listens at port {port} of 127.0.0.1" in error
    assert "--grpc-port" in error
