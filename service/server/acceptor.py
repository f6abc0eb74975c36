"""How the workers share one listening socket: a connection goes to the worker that has the fewest connections."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable, MutableSequence
from contextlib import suppress
from dataclasses import dataclass
from ssl import SSLContext

ABSENT = 2**31 - 1
"""The number of connections of a place without a worker that answers."""

SECONDS_PER_CONNECTION = 0.001
"""A worker waits this long, for each connection that it has more than another, before it accepts a connection."""

LONGEST_WAIT = 0.02
"""The longest such wait, in seconds. The worker with the fewest connections may compute for some milliseconds."""

RETRY_SECONDS = 1.0
"""If a connection cannot be accepted, for example because the process has too many open files, the next attempt is
after this many seconds."""

TCP_INFO_UNACKED = 24
"""Where Linux's `struct tcp_info` has the field `tcpi_unacked`: at a listening socket, the number of connections that
wait to be accepted."""

logger = logging.getLogger("uvicorn.error")


@dataclass(frozen=True)
class Share:
    """The place of one worker among the workers that accept connections at one socket.

    Attributes:
        connections: the number of connections of each worker, in memory that the workers share.
        place: the index of this worker.
    """

    connections: MutableSequence[int]
    place: int

    def publish(self, connections: int) -> None:
        """Tell the other workers how many connections this worker has; `ABSENT` if it does not accept any."""
        self.connections[self.place] = connections

    def excess(self) -> int:
        """How many connections this worker has more than the worker with the fewest."""
        return self.connections[self.place] - min(self.connections)

    def part(self, waiting: int) -> int:
        """How many waiting connections this worker gets if each goes to the worker that then has the fewest."""
        others = [*self.connections]
        own, part = others.pop(self.place), 0
        for _ in range(waiting):
            if not others or own + part <= min(others):
                part += 1
            else:
                others[others.index(min(others))] += 1
        return part


class Acceptor:
    """Accepts connections at a listening socket that other workers share.

    If the worker that wakes up first accepted all connections, their requests would wait for each other while other
    workers are idle. So a worker accepts its part of the connections that wait, such that all workers get the same
    number. It leaves the rest to the others for a time: for n milliseconds if it has n connections more than another.
    The others accept in the meantime, unless they are busy.

    Args:
        listener: the socket. It must be bound.
        backlog: the number of connections that may wait to be accepted.
        share: the place of this worker.
        count: returns the number of connections of this worker.
        protocol: makes the protocol of a connection.
        secure: the TLS context; None without TLS.
    """

    def __init__(
        self,
        listener: socket.socket,
        backlog: int,
        share: Share,
        count: Callable[[], int],
        protocol: Callable[[], asyncio.Protocol],
        secure: SSLContext | None,
    ) -> None:
        self._listener, self._share, self._count = listener, share, count
        self._protocol, self._secure = protocol, secure
        self._loop = asyncio.get_running_loop()
        self._entering = set[asyncio.Task[None]]()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        listener.listen(backlog)
        self._listen()

    def publish(self) -> None:
        """Tell the other workers how many connections this worker has."""
        self._share.publish(self._count() + len(self._entering))

    def close(self) -> None:
        """Accept no more connections. The socket stays open."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        self._share.publish(ABSENT)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._on_connection)

    def _on_connection(self) -> None:
        """Accept this worker's part of the connections that wait, and leave the rest to the others for a while."""
        self.publish()
        waiting = _waiting(self._listener)
        part = self._share.part(waiting)
        self._accept(part)
        if part < waiting and self._pause is None:
            self._wait(min(max(1, self._share.excess()) * SECONDS_PER_CONNECTION, LONGEST_WAIT), self._accept_late)

    def _accept_late(self) -> None:
        """Accept at least one connection, although other workers have fewer: they are busy."""
        self._listen()
        self.publish()
        self._accept(max(1, self._share.part(_waiting(self._listener))))

    def _accept(self, most: int) -> None:
        """Accept some connections, as long as any wait."""
        for _ in range(most):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                break  # another worker has accepted the connection, or the client has given up
            except OSError as error:
                logger.warning("No connection can be accepted; the next attempt is in %g s: %s", RETRY_SECONDS, error)
                self._wait(RETRY_SECONDS, self._listen)
                break
            connection.setblocking(False)
            task = self._loop.create_task(self._enter(connection))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)
        self.publish()

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Leave the socket to the other workers for some seconds."""
        self._loop.remove_reader(self._listener)
        self._pause = self._loop.call_later(seconds, then)

    async def _enter(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the client has disconnected, or does not speak TLS
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._secure)


def _waiting(listener: socket.socket) -> int:
    """The number of connections that wait to be accepted at a socket; 1 where the system does not tell."""
    try:
        information = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_UNACKED + 4)
        waiting: int = struct.unpack_from("=I", information, TCP_INFO_UNACKED)[0]
        return max(1, waiting)
    except (OSError, AttributeError, struct.error):
        return 1
