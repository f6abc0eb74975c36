"""A real server on a socket that gives prescribed replies and records the requests."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import NamedTuple

from tests.waiting import HANG


class Reply(NamedTuple):
    """The reply to a request.

    Attributes:
        status: the status; None to break the connection.
        delay: seconds before the reply.
        body: the body of the reply.
        keep: whether the connection stays open.
    """

    status: int | None = 200
    delay: float = 0.0
    body: bytes = b'{"predictions": [{"digit": 7, "solver": {"nfe": 4, "rtol": 0.1, "degraded": true}}]}'
    keep: bool = True


@dataclass
class StubServer:
    """A server with prescribed replies.

    Attributes:
        reply_to: gives the reply to a request by its number.
        serial: whether a request waits for the requests before it.
        callers: the addresses that connections came from.
        requests: the requests in the order of their arrival.
        max_in_flight: the largest number of requests that waited for their replies at the same time.
    """

    reply_to: Callable[[int], Reply]
    serial: bool
    port: int = 0
    callers: set[str] = field(default_factory=set)
    requests: list[bytes] = field(default_factory=list)
    in_flight: int = 0
    max_in_flight: int = 0

    async def serve(self, ready: Callable[[asyncio.Event], None]) -> None:
        """Serve until the event is set that `ready` receives."""
        self.slot, stop = asyncio.Lock() if self.serial else asyncio.Semaphore(1000), asyncio.Event()
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready(stop)
        await stop.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.callers.add(writer.get_extra_info("peername")[0])
        try:
            while await self._answer(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
        self.requests.append(head + await reader.readexactly(length))
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        reply = self.reply_to(len(self.requests) - 1)
        async with self.slot:
            await asyncio.sleep(reply.delay)
        self.in_flight -= 1
        if reply.status is None:
            return False
        connection = b"" if reply.keep else b"Connection: close\r\n"
        head = b"HTTP/1.1 %d -\r\n%bContent-Length: %d\r\n\r\n" % (reply.status, connection, len(reply.body))
        writer.write(head + reply.body)
        await writer.drain()
        return reply.keep


@contextmanager
def stub_server(reply_to: Callable[[int], Reply] = lambda _: Reply(), *, serial: bool = False) -> Iterator[StubServer]:
    """Run a server in a thread; the end of the context stops it."""
    server, listening = StubServer(reply_to, serial), Event()
    stops: list[Callable[[], object]] = []

    def ready(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        listening.set()

    thread = Thread(target=lambda: asyncio.run(server.serve(ready)))
    thread.start()
    assert listening.wait(HANG)
    try:
        yield server
    finally:
        stops[0]()
        thread.join()
