"""The load generator: closed loops and open loops over raw connections, in a process of its own.

A closed loop keeps as many requests in flight as it has connections. In an open loop requests arrive when a Poisson
process says, whether or not earlier ones are answered, and the latency of each counts from that moment: if the service
stalls, the wait of everything that arrived meanwhile is in the figures (there is no coordinated omission).

It shares the processors with the service that it loads, so it does as little as it can while the load runs: requests
are built before, and answers are read after.
"""

import asyncio
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from threading import Thread
from typing import cast

import httptools
import numpy as np
import uvloop

from benchmarks.serving.plan import HOST, Closed, Plan, arrivals
from benchmarks.serving.questions import Digits, Questions
from benchmarks.serving.results import BROKEN, UNANSWERED, Integers, Result, read_rows

CALLERS = 32
"""Connections that an open loop begins with."""

LONGEST_IDLE = 3.0
"""Seconds after which an idle connection is not used again; servers close theirs after five."""

PAUSE = 0.01
"""Seconds after a broken connection before a closed loop goes on, so that a dead server is not hammered."""


@dataclass
class Log:
    """What happened to each request, a column each."""

    kind: list[int] = field(default_factory=list)
    rows: list[Integers] = field(default_factory=list)
    scheduled: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    status: list[int] = field(default_factory=list)
    body: list[bytes] = field(default_factory=list)

    def add(self, kind: int, rows: Integers, scheduled: float) -> int:
        """Take in a request that is not answered yet, and return its number."""
        nothing = float("nan")
        row = (kind, rows, scheduled, nothing, nothing, UNANSWERED, b"")
        columns = (self.kind, self.rows, self.scheduled, self.sent, self.finished, self.status, self.body)
        for column, value in zip(columns, row, strict=True):
            column.append(value)  # type: ignore[attr-defined]
        return len(self.kind) - 1


class Connection(asyncio.Protocol):
    """A keep-alive connection, with one request in flight at most.

    Args:
        generator: which is told of its ends.
    """

    def __init__(self, generator: "Generator") -> None:
        self.idle_since = 0.0
        self._generator = generator
        self._parser = httptools.HttpResponseParser(self)
        self._number: int | None = None
        self._body: list[bytes] = []
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The server has accepted."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not derive from it

    def send(self, number: int, content: bytes) -> None:
        """Write a request."""
        self._number = number
        self._transport.write(content)

    def close(self) -> None:
        """End the connection."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Parse a part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """A part of the body has come."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The answer is there."""
        number, body = self._number, b"".join(self._body)
        self._number, self._body = None, []
        if number is None:
            self._transport.abort()  # an answer to nothing
            return
        keep = self._parser.should_keep_alive()
        if not keep:
            self.close()
        self._generator.answered(self, number, self._parser.get_status_code(), body, keep=keep)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio gives it)
        """The connection has ended, on either side."""
        number, self._number = self._number, None
        self._generator.lost(self, number)


class Generator:
    """Sends requests over as many connections as it needs and may have.

    Args:
        port: of the server.
        questions: what to send.
        connections: the most.
    """

    def __init__(self, port: int, questions: Questions, connections: int) -> None:
        self.log = Log()
        self.unanswered = 0
        self.on_end: Callable[[bool], None] = lambda _: None
        self._port, self._questions, self._most = port, questions, connections
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._closing = False

    async def connect(self, connections: int) -> None:
        """Open connections, one after another, as they would be by callers who do not begin all at once."""
        for _ in range(connections):
            await self._connect()

    def arrive(self, scheduled: float) -> None:
        """A request is due."""
        question = self._questions.next()
        number = self.log.add(question.kind, question.rows, scheduled)
        self.unanswered += 1
        self._waiting.append((number, question.content))
        self._send()

    def answered(self, connection: Connection, number: int, status: int, body: bytes, *, keep: bool) -> None:
        """An answer is there."""
        self.log.body[number] = body
        if keep:
            self._free(connection)
        self._end(number, status)
        self._send()

    def lost(self, connection: Connection, number: int | None) -> None:
        """A connection has ended, perhaps with a request in flight."""
        if self._closing:
            return
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if number is not None:
            self._end(number, BROKEN)
        self._send()

    async def close(self) -> None:
        """End all connections, and leave what is unanswered so."""
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
        self.on_end(status == BROKEN)

    def _send(self) -> None:
        """Send what waits, as far as connections are free, and open others for the rest."""
        now = time.perf_counter()
        while self._waiting and self._idle:
            connection = self._idle.popleft()  # by turns, as callers who know nothing of each other would
            if now - connection.idle_since > LONGEST_IDLE:
                connection.close()
                continue
            number, content = self._waiting.popleft()
            self.log.sent[number] = now
            connection.send(number, content)
        while len(self._waiting) > len(self._connecting) and len(self._open) + len(self._connecting) < self._most:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _free(self, connection: Connection) -> None:
        connection.idle_since = time.perf_counter()
        self._idle.append(connection)

    async def _connect(self) -> None:
        try:
            made = asyncio.get_running_loop().create_connection(lambda: Connection(self), HOST, self._port)
            _, connection = await made
        except OSError:
            if self._waiting:
                self._end(self._waiting.popleft()[0], BROKEN)
            return
        self._open.add(connection)
        self._free(connection)
        self._send()


def measure(plan: Plan, digits: Digits) -> Result:
    """Run a load to its end, in this process.

    Args:
        plan: the load.
        digits: what to ask.
    """
    questions = Questions(plan.kinds, digits, plan.seed, f"{HOST}:{plan.port}")
    generator = Generator(plan.port, questions, plan.load.connections)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        cpu = time.process_time()
        began = runner.run(_run(generator, plan))
        cpu_seconds, gave_up = time.process_time() - cpu, time.perf_counter()
    log = generator.log
    status = np.array(log.status, np.int64)
    scheduled, sent, finished = (np.array(times) - began for times in (log.scheduled, log.sent, log.finished))
    return Result(
        kinds=plan.kinds,
        kind=np.array(log.kind, np.int64),
        scheduled=scheduled,
        sent=sent,
        finished=np.where(status == UNANSWERED, gave_up - began, finished),
        rows=read_rows(log.body, status, log.rows, digits.labels),
        status=status,
        since=plan.load.warm_up,
        until=plan.load.length,
        cpu_seconds=cpu_seconds,
        began=began,
    )


def process() -> ProcessPoolExecutor:
    """A process to call `measure` in, so that the load shares no interpreter lock with whoever asks for it."""
    return ProcessPoolExecutor(1, get_context("spawn"))


async def _run(generator: Generator, plan: Plan) -> float:
    """Run a load, and return when it began."""
    load = plan.load
    await generator.connect(load.connections if isinstance(load, Closed) else min(CALLERS, load.connections))
    began = time.perf_counter()
    if isinstance(load, Closed):
        await _closed(generator, load.connections, began + load.length)
    else:
        await _open(generator, began + arrivals(load.phases, plan.seed))
        await asyncio.sleep(began + load.length - time.perf_counter())
    give_up = time.perf_counter() + plan.patience
    while generator.unanswered and time.perf_counter() < give_up:
        await asyncio.sleep(0.005)
    generator.on_end = lambda _: None
    await generator.close()
    return began


async def _closed(generator: Generator, connections: int, end: float) -> None:
    """Keep a request in flight on each connection until the end."""
    loop = asyncio.get_running_loop()

    def again(broken: bool = False) -> None:
        now = time.perf_counter()
        if broken:
            loop.call_later(PAUSE, again)
        elif now < end:
            generator.arrive(now)

    generator.on_end = again
    for _ in range(connections):
        again()
    await asyncio.sleep(end - time.perf_counter())


async def _open(generator: Generator, due: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    """Let requests arrive at given moments.

    A thread keeps the time, as an event loop only knows whole milliseconds.
    """
    loop, moments, done = asyncio.get_running_loop(), deque(due.tolist()), asyncio.Event()
    here, there = socket.socketpair()

    def arrive() -> None:
        here.recv(4096)
        now = time.perf_counter()
        while moments and moments[0] <= now:
            generator.arrive(moments.popleft())
        if not moments:
            done.set()

    with here, there:
        here.setblocking(False)
        loop.add_reader(here, arrive)
        pacer = Thread(target=_pace, args=(list(moments), there), daemon=True)
        pacer.start()
        if moments:
            await done.wait()
        await asyncio.to_thread(pacer.join)
        loop.remove_reader(here)


def _pace(moments: list[float], wake: socket.socket) -> None:
    """Write a byte at each of the moments."""
    for moment in moments:
        if (left := moment - time.perf_counter()) > 0:
            time.sleep(left)
        wake.send(b"\0")
