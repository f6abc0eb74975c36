"""The service ends without losing a call. `tests/end_to_end/test_replacing.py` replaces processes that share a port."""

import signal
from collections import deque
from collections.abc import Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from benchmarks.serving.servers import free_port
from tests.metrics import scrape
from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.infer_messages import message
from tests.serving import DEFAULT_MODEL, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_terminated_service_answers_the_calls_that_have_arrived() -> None:
    with running("--grpc-port", str(free_port()), "--shutdown-seconds", str(HANG), models=[DEFAULT_MODEL]) as service:
        with service.client() as rest, grpc.insecure_channel(service.grpc_address()) as channel:
            statuses = SimpleQueue[int]()
            watch = HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            Thread(target=lambda: deque(map(statuses.put, (each.status for each in watch))), daemon=True).start()
            assert statuses.get(timeout=HANG) == SERVING
            idle, end = stream_of(channel)
            steps = scrape(rest).total("batch_rows_count")
            call = GRPCInferenceServiceStub(channel).ModelInfer.future(
                message(DIGITS[:9], parameters={"tolerance": 1e-6, "method": "heun2"})
            )
            until(lambda: scrape(rest).total("batch_rows_count") > steps)
            service.process.send_signal(signal.SIGTERM)
            assert statuses.get(timeout=HANG) == NOT_SERVING
            assert call.result(timeout=HANG).outputs[0].shape == [9, 10]
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
