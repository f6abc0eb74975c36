"""A real server on a socket, that answers as it is told and sees how it is asked."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import NamedTuple


class Reply(NamedTuple):
    """How a request is answered.

    Attributes:
        status: None to break the connection.
        delay: seconds before.
        body: of the answer.
        keep: whether the connection stays open.
    """

    status: int | None = 200
    delay: float = 0.0
    body: bytes = b'{"predictions": [{"digit": 7, "solver": {"nfe": 4, "rtol": 0.1, "degraded": true}}]}'
    keep: bool = True


@dataclass
class Little:
    """A server.

    Attributes:
        behave: from the number of a request, how to answer it.
        serial: whether a request waits for those before it.
        asked: the requests, as they came.
        most_in_flight: how many waited for their answers at the same time.
    """

    behave: Callable[[int], Reply]
    serial: bool
    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    async def serve(self, ready: Callable[[asyncio.Event], None]) -> None:
        """Serve until the event that `ready` is given."""
        self.turn, stop = asyncio.Lock() if self.serial else asyncio.Semaphore(1000), asyncio.Event()
        server = await asyncio.start_server(self._converse, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready(stop)
        await stop.wait()
        server.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
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
        self.asked.append(head + await reader.readexactly(length))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        reply = self.behave(len(self.asked) - 1)
        async with self.turn:
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
def little(behave: Callable[[int], Reply] = lambda _: Reply(), *, serial: bool = False) -> Iterator[Little]:
    """A server in a thread, until it is left."""
    server, listening = Little(behave, serial), Event()
    stops: list[Callable[[], object]] = []

    def ready(stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        listening.set()

    thread = Thread(target=lambda: asyncio.run(server.serve(ready)))
    thread.start()
    assert listening.wait(10)
    try:
        yield server
    finally:
        stops[0]()
        thread.join()
