"""The load generator: closed loops and open loops over raw connections, in a separate process.

A closed loop keeps a number of requests in flight, each on a connection of its own, unless the connections of the form
carry several. In an open loop, requests arrive according to a Poisson process, whether or not earlier requests are
answered, and the latency of a request counts from its arrival. If the service stalls, the results include the wait of
every request that arrives during the stall (there is no coordinated omission).

The generator shares the processors with the service under load, so it does as little as possible while the load runs:
it builds the requests before the load, and parses the answers after the load.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from threading import Thread

import numpy as np
import uvloop

from benchmarks.serving.connections import Connection
from benchmarks.serving.plan import HOST, Closed, Plan, kinds_of_connections
from benchmarks.serving.requests import Digits, RequestSequence
from benchmarks.serving.results import BROKEN, UNANSWERED, Integers, Result, read_answers

INITIAL_CONNECTIONS = 32
"""The number of connections at the start of an open loop."""

MAX_IDLE = 3.0
"""Seconds after which an idle connection is not used again. Servers close idle connections after five seconds."""

PAUSE = 0.01
"""Seconds that a closed loop waits after a broken connection, so that it does not flood a dead server."""


@dataclass
class Log:
    """What happened to each request. Each attribute is a column with one entry per request."""

    kind: list[int] = field(default_factory=list)
    image_indices: list[Integers] = field(default_factory=list)
    scheduled: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)

    def add(self, kind: int, image_indices: Integers, scheduled: float) -> int:
        """Add a request without an answer, and return its number."""
        unknown = float("nan")
        row = (kind, image_indices, scheduled, unknown, unknown, UNANSWERED, b"")
        columns = (self.kind, self.image_indices, self.scheduled, self.sent, self.finished, self.status, self.body)
        for column, value in zip(columns, row, strict=True):
            column.append(value)  # type: ignore[attr-defined]
        return len(self.kind) - 1


class Generator:
    """Sends requests over as many connections as it needs, up to a limit of the requests in flight.

    Args:
        port: the port of the server.
        requests: the requests to send.
        most: the greatest number of requests in flight.
        connection: the class of the connections.
        source: the address that the connections come from; None for the usual one.
    """

    def __init__(
        self, port: int, requests: RequestSequence, most: int, connection: type[Connection], source: str | None
    ) -> None:
        self.log = Log()
        self.unanswered = 0
        self.on_end: Callable[[int, bool], None] = lambda *_: None
        self._port, self._requests, self._connection = port, requests, connection
        self._local_address = None if source is None else (source, 0)
        self._max_connections = -(-most // connection.most)
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._idle: deque[Connection] = deque()  # a connection is in it once for each request that it has room for
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    async def connect(self, requests: int) -> None:
        """Open the connections for a number of requests in flight.

        The connections open one after another, because real clients do not all connect at the same time.
        """
        for _ in range(0, requests, self._connection.most):
            await self._connect()

    def arrive(self, scheduled: float, kind: int | None = None) -> None:
        """Queue the next request.

        Args:
            scheduled: the time from which the latency counts.
            kind: the index of the kind.  Default: the kind is drawn.
        """
        request = self._requests.next(kind)
        number = self.log.add(request.kind, request.image_indices, scheduled)
        self.unanswered += 1
        self._waiting.append((number, request.content))
        self._send()

    def answered(self, connection: Connection, number: int, status: int, body: bytes, *, keep: bool) -> None:
        """Log an answer."""
        self.log.body[number] = body
        if keep:
            self._free(connection)
        self._end(number, status)
        self._send()

    def lost(self, connection: Connection, numbers: Iterable[int]) -> None:
        """Log the end of a connection, which may have had requests in flight."""
        if self._closing:
            return
        self._open.discard(connection)
        self._idle = deque(each for each in self._idle if each is not connection)
        for number in numbers:
            self._end(number, BROKEN)
        self._send()

    async def close(self) -> None:
        """Close all connections; unanswered requests stay unanswered."""
        self._closing = True
        self._waiting.clear()
        for task in self._connecting:
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in self._open:
            connection.close()

    def _end(self, number: int, status: int) -> None:
        self.log.finished[number] = time.perf_counter()
        self.log.status[number] = status
        self.unanswered -= 1
        self.on_end(self.log.kind[number], status == BROKEN)

    def _send(self) -> None:
        """Send waiting requests over idle connections, and open more connections for the rest."""
        now = time.perf_counter()
        while self._waiting and self._idle:
            connection = self._idle.popleft()  # the longest idle first, like independent clients
            if now - connection.idle_since > MAX_IDLE:
                connection.close()
                continue
            number, content = self._waiting.popleft()
            self.log.sent[number] = now
            connection.send(number, content)
        while (
            len(self._waiting) > len(self._connecting)
            and len(self._open) + len(self._connecting) < self._max_connections
        ):
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _free(self, connection: Connection) -> None:
        connection.idle_since = time.perf_counter()
        self._idle.append(connection)

    async def _connect(self) -> None:
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: self._connection(self), HOST, self._port, local_addr=self._local_address
            )
        except OSError:
            if self._waiting:
                self._end(self._waiting.popleft()[0], BROKEN)
            return
        self._open.add(connection)
        for _ in range(connection.most):
            self._free(connection)
        self._send()


def measure(plan: Plan, digits: Digits) -> Result:
    """Run a load to its end, in this process.

    Args:
        plan: the load.
        digits: the images to send.
    """
    requests = RequestSequence(plan.kinds, digits, plan.seed, f"{HOST}:{plan.port}")
    connection = plan.kinds[0].form.connection
    generator = Generator(plan.port, requests, plan.load.connections, connection, plan.source)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cpu = time.process_time()
        began = runner.run(_run(generator, plan))
        cpu_seconds, gave_up = time.process_time() - cpu, time.perf_counter()
    log = generator.log
    status = np.array(log.status, np.int64)
    readers = [plan.kinds[kind].form.read for kind in log.kind]
    scheduled, sent, finished = (np.array(times) - began for times in (log.scheduled, log.sent, log.finished))
    return Result(
        kinds=plan.kinds,
        kind=np.array(log.kind, np.int64),
        scheduled=scheduled,
        sent=sent,
        finished=np.where(status == UNANSWERED, gave_up - began, finished),
        answers=read_answers(readers, log.body, status, log.image_indices, digits.labels),
        status=status,
        since=plan.load.warm_up,
        until=plan.load.length,
        cpu_seconds=cpu_seconds,
        began=began,
    )


def process() -> ProcessPoolExecutor:
    """A process to call `measure` in, so that the load does not share the interpreter lock with its caller."""
    return ProcessPoolExecutor(1, get_context("spawn"))


async def _run(generator: Generator, plan: Plan) -> float:
    """Run a load, and return its start time."""
    load = plan.load
    await generator.connect(
        load.connections if isinstance(load, Closed) else min(INITIAL_CONNECTIONS, load.connections)
    )
    began = time.perf_counter()
    if isinstance(load, Closed):
        await _closed(generator, kinds_of_connections(plan.kinds, load.connections), began + load.length)
    else:
        await _open(generator, began + load.arrivals(plan.seed))
        await asyncio.sleep(began + load.length - time.perf_counter())
    give_up = time.perf_counter() + plan.patience
    while generator.unanswered and time.perf_counter() < give_up:
        await asyncio.sleep(0.005)
    generator.on_end = lambda *_: None
    await generator.close()
    return began


async def _closed(generator: Generator, kinds: list[int], end: float) -> None:
    """Keep a request of each of the kinds in flight until the end."""
    loop = asyncio.get_running_loop()

    def again(kind: int, broken: bool = False) -> None:
        now = time.perf_counter()
        if broken:
            loop.call_later(PAUSE, again, kind)
        elif now < end:
            generator.arrive(now, kind)

    generator.on_end = again
    for kind in kinds:
        again(kind)
    await asyncio.sleep(end - time.perf_counter())


async def _open(generator: Generator, due: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Let requests arrive at given times.

    A thread waits for each time, because an event loop has a resolution of one millisecond only.
    """
    loop, times, done = asyncio.get_running_loop(), deque(due.tolist()), asyncio.Event()
    here, there = socket.socketpair()

    def arrive() -> None:
        here.recv(4096)
        now = time.perf_counter()
        while times and times[0] <= now:
            generator.arrive(times.popleft())
        if not times:
            done.set()

    with here, there:
        here.setblocking(False)
        loop.add_reader(here, arrive)
        timer = Thread(target=_wake_at, args=(list(times), there), daemon=True)
        timer.start()
        if times:
            await done.wait()
        await asyncio.to_thread(timer.join)
        loop.remove_reader(here)


def _wake_at(times: list[float], wake: socket.socket) -> None:
    """Write a byte at each of the times."""
    for due in times:
        if (left := due - time.perf_counter()) > 0:
            time.sleep(left)
        wake.send(b"\0")
