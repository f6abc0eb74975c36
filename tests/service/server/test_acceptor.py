"""Workers that share a listening socket: which of them accepts a connection."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager
from http.client import HTTPConnection

import httpx
import pytest

from service.server.acceptor import ABSENT, Acceptor, Share
from service.server.listening import bind
from tests.end_to_end.callers import ports_of, workers
from tests.serving import running
from tests.waiting import HANG


class Greeting(asyncio.Protocol):
    """Greets, so that a client sees that its connection was accepted."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.write(b"hello")  # type: ignore[attr-defined]


@contextmanager
def listening() -> Iterator[socket.socket]:
    with bind("127.0.0.1", 0) as listener:
        yield listener


@asynccontextmanager
async def accepting(listener: socket.socket, connections: list[int], own: int) -> AsyncIterator[asyncio.Event]:
    """The worker at place 0 accepts. The event is set when the worker compares its own connections with the others."""
    compared = asyncio.Event()

    def count() -> int:
        compared.set()
        return own

    acceptor = Acceptor(listener, 16, Share(connections, 0), count, Greeting, None)
    yield compared
    acceptor.close()


async def greeted(listener: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    greeting = await reader.readexactly(5)
    writer.close()
    return greeting


@pytest.mark.parametrize("others", [[ABSENT], [3, ABSENT], [9]])
def test_the_worker_with_the_fewest_connections_accepts_at_once(others: list[int]) -> None:
    async def run() -> None:
        with listening() as listener:
            async with accepting(listener, [ABSENT, *others], own=3):
                assert await greeted(listener) == b"hello"

    asyncio.run(run())


def test_a_worker_lets_another_with_fewer_connections_accept_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.acceptor.LONGEST_WAIT", HANG)

    async def run() -> None:
        with listening() as listener:
            async with accepting(listener, [ABSENT, 1], own=1_000_000) as compared:
                with socket.create_connection(listener.getsockname()):
                    await compared.wait()
                    accepted, _ = listener.accept()  # it still waits, so the other worker can accept it
                    accepted.close()

    asyncio.run(run())


def test_a_worker_accepts_if_the_others_with_fewer_connections_are_busy() -> None:
    async def run() -> None:
        with listening() as listener:
            async with accepting(listener, [ABSENT, 0], own=1000):
                assert [await greeted(listener) for _ in range(3)] == [b"hello"] * 3

    asyncio.run(run())


def test_a_worker_accepts_its_part_of_a_burst_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.server.acceptor.SECONDS_PER_CONNECTION", HANG)
    monkeypatch.setattr("service.server.acceptor.LONGEST_WAIT", HANG)

    async def run() -> None:
        with listening() as listener, ExitStack() as stack:
            listener.listen(16)
            clients = [stack.enter_context(socket.create_connection(listener.getsockname())) for _ in range(9)]
            async with accepting(listener, [ABSENT, 5], own=2):
                for client in clients[:6]:
                    client.setblocking(False)
                    assert await asyncio.get_running_loop().sock_recv(client, 5) == b"hello"
                left = [listener.accept()[0] for _ in clients[6:]]  # the part of the other worker
                for each in left:
                    each.close()
                with pytest.raises(BlockingIOError):
                    listener.accept()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("others", "own", "waiting", "part"),
    [
        ([], 7, 5, 5),
        ([3], 3, 1, 1),
        ([3], 4, 1, 0),
        ([0], 4, 10, 3),
        ([9, 2], 2, 6, 3),
        ([ABSENT, ABSENT], 100, 20, 20),
    ],
)
def test_the_waiting_connections_level_the_numbers_of_the_workers(
    others: list[int], own: int, waiting: int, part: int
) -> None:
    assert Share([*others, own], len(others)).part(waiting) == part


def test_the_others_see_the_connections_of_a_worker() -> None:
    connections = [ABSENT, ABSENT]

    async def run() -> None:
        with listening() as listener:
            async with accepting(listener, connections, own=5):
                await greeted(listener)
                assert connections[0] >= 5
            assert connections == [ABSENT, ABSENT], "a worker that stops accepting is not waited for"

    asyncio.run(run())


@pytest.mark.system
def test_connections_are_spread_evenly() -> None:
    """On a busy machine, a worker may be late to accept. It then gets the next connections."""
    with running("--model", "mlp", ODENET_WORKERS="2") as service, ExitStack() as stack:
        address, connections = httpx.URL(service.url), list[HTTPConnection]()

        def unevenness_after(more: int) -> int:
            for _ in range(more):
                connection = stack.enter_context(closing(HTTPConnection(address.host, address.port, timeout=HANG)))
                connection.request("GET", "/health/live")
                assert connection.getresponse().status == 200
                connections.append(connection)
            one, other = (len(ports_of(worker)) for worker in workers(service))
            assert one + other == len(connections)
            return abs(one - other)

        uneven = unevenness_after(300)
        if uneven > 10:
            uneven = unevenness_after(uneven)
        assert uneven <= 10
