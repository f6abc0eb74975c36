"""Two processes share the port; the service ends without losing a call, and replaces its processes."""

import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.end_to_end.callers import workers
from tests.metrics import scrape
from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.infer_messages import message
from tests.serving import DEFAULT_MODEL, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
"""Channels with this option share no connection, so the kernel may give each of them another process."""


def process_behind(address: str) -> str:
    """Make a call on a new connection, and return the part of its id that names the process.

    gRPC cancels a call that arrives just when its process ends, and the client asks again.
    """
    while True:
        with grpc.insecure_channel(address, OWN_CONNECTION) as channel:
            infer = GRPCInferenceServiceStub(channel).ModelInfer
            try:
                answer, call = infer.with_call(message(model_name="mlp"), timeout=HANG)
            except grpc.RpcError as error:
                assert error.code() is StatusCode.CANCELLED  # noqa: PT017 (any other status fails the test)
                continue
        assert answer.model_name == "mlp"
        return str(dict(call.trailing_metadata())["x-request-id"][:16])


def test_two_processes_share_the_port_and_are_replaced_while_calls_go_on() -> None:
    with running("--grpc-port", "0", ODENET_WORKERS="2") as service:
        address, old, seen = service.grpc_address(workers=2), set(workers(service)), set[str]()

        def both_answer() -> bool:
            seen.add(process_behind(address))
            return len(seen) == 2

        until(both_answer)
        service.process.send_signal(signal.SIGHUP)
        until(lambda: process_behind(address) and not any(Path("/proc", str(process)).exists() for process in old))
        new = {process_behind(address) for _ in range(20)}
        assert not new & seen
        assert len(new) == 2


def test_a_terminated_service_answers_the_calls_that_have_arrived() -> None:
    with running("--grpc-port", "0", "--shutdown-seconds", str(HANG), models=[DEFAULT_MODEL]) as service:
        with service.client() as rest, grpc.insecure_channel(service.grpc_address()) as channel:
            statuses = SimpleQueue[int]()
            watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            Thread(target=lambda: deque(map(statuses.put, (each.status for each in watch))), daemon=True).start()
            assert statuses.get(timeout=HANG) == SERVING
            idle, end = stream_of(channel)
            call = GRPCInferenceServiceStub(channel).ModelInfer.future(
                message(DIGITS[:50], parameters={"tolerance": 1e-5, "method": "heun2"})
            )
            until(lambda: scrape(rest).total("rows_inflight") > 0)
            service.process.send_signal(signal.SIGTERM)
            assert statuses.get(timeout=HANG) == NOT_SERVING
            assert call.result(timeout=HANG).outputs[0].shape == [50, 10]
            with pytest.raises(grpc.RpcError) as caught:
                list(idle)
            end.set()
            assert (caught.value.code(), caught.value.details()) == (
                StatusCode.UNAVAILABLE,
                "service: is stopping; ask again",
            )
        assert service.process.wait(HANG) == 0


def stream_of(channel: grpc.Channel) -> tuple[Any, Event]:
    """An open stream, which has had one answer, and the event that lets it end."""
    end = Event()

    def requests() -> Iterator[Any]:
        yield message()
        end.wait(HANG)

    stream = GRPCInferenceServiceStub(channel).ModelStreamInfer(requests())
    assert next(stream).infer_response.model_name == DEFAULT_MODEL
    return stream, end


def test_a_client_that_does_not_send_its_message_in_time_is_given_up() -> None:
    def silent() -> Iterator[bytes]:
        given_up.wait(HANG)
        yield b""

    given_up = Event()
    with (
        running("--grpc-port", "0", "--client-seconds", "0.2") as service,
        grpc.insecure_channel(service.grpc_address()) as channel,
    ):
        infer: Any = channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
        call = infer.future(silent())
        error = call.exception(timeout=HANG)
        given_up.set()
        assert (error.code(), error.details()) == (
            StatusCode.DEADLINE_EXCEEDED,
            "message: has not arrived after 0.2 s",
        )
        assert GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=HANG).live
