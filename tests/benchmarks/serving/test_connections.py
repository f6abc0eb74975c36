"""The connections of the load generator for gRPC, against gRPC's own server."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import grpc
import pytest

from benchmarks.serving.forms import Images, MultiplexedRpcForm, Row, RpcForm, pixels
from benchmarks.serving.load import measure
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import OK


class RpcServer(NamedTuple):
    """A server: its port, and the addresses of the clients that it has answered."""

    port: int
    clients: set[str]


@pytest.fixture
def server() -> Iterator[RpcServer]:
    """A server whose `Sum` answers a number and whose `Fail` fails."""
    clients = set[str]()

    def total(message: bytes, call: Any) -> bytes:
        clients.add(call.peer())
        return b"%d" % sum(message) + b" " * 50_000  # several frames

    def fail(_message: bytes, call: Any) -> bytes:
        call.abort(grpc.StatusCode.INVALID_ARGUMENT, "wrong")
        return b""

    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Sum": grpc.unary_unary_rpc_method_handler(total),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
    }
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, [grpc.method_handlers_generic_handler("test.Service", methods)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield RpcServer(port, clients)
        server.stop(None).wait()


def number(body: bytes) -> list[Row]:
    return [Row(int(body))]


def sum_of(images: Images) -> int:
    return int(images.astype(int).sum())


@pytest.mark.parametrize(("form", "connections"), [(RpcForm, 3), (MultiplexedRpcForm, 1)])
def test_calls_at_the_same_time_are_answered(
    server: RpcServer, digits: Digits, form: type[RpcForm], connections: int
) -> None:
    kind = Kind(form=form("/test.Service/Sum", "", pixels, number))
    result = measure(Plan(server.port, Closed(3, 0.2, warm_up=0), (kind,)), digits)
    assert len(result.status) > 6
    assert set(result.status) == {OK}
    assert len(server.clients) == connections
    answers = zip(result.answers.image, result.answers.digit, strict=True)
    assert all(answer == sum_of(digits.images[image]) for image, answer in answers)


def test_a_call_without_a_message_in_its_answer_has_failed(server: RpcServer, digits: Digits) -> None:
    form = RpcForm("/test.Service/Fail", "", pixels, number)
    result = measure(Plan(server.port, Closed(1, 0.1, warm_up=0), (Kind(form=form),)), digits)
    assert set(result.status) == {500}
