"""The engine in the event loop: what the loop reads during an iteration, and how long the bytes may have waited."""

import asyncio
import socket
import time
from contextlib import closing
from typing import Any

import pytest
import uvloop

from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.request import EngineRequest
from service.engine.scheduler import Iteration
from tests.service.engine.driving import served
from tests.service.engine.test_engine import request_to, stays

TIGHT: dict[str, Any] = {"method": "heun2", "tolerance": 1e-4}
"""Solver fields with which an image takes some dozens of iterations."""


class Caller:
    """Sends a request at the end of an iteration, over a socket, to an engine that is busy with another request.

    Attributes:
        sent_at: when the request was sent.
        read_at: when the event loop read the request.
        lag: how long the request may have waited in the socket.
        before: the number of iterations after which the request was sent.
        after: the number of iterations after which the request had started.
    """

    def __init__(self, model: ServedModel) -> None:
        self.model = model
        self.sent_at = self.read_at = self.lag = 0.0
        self.before, self.after, self._iterations = 3, 0, 0
        self.engine = Engine(queue_seconds=60, threads=0, on_change=self._on_change)
        self._socket, self._sender = socket.socketpair()
        self._request: EngineRequest | None = None
        self._answered: asyncio.Task[None] | None = None

    def call(self) -> None:
        """Keep the engine busy, and wait until the request that is sent meanwhile is answered."""
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop of the service
            runner.run(self._call())

    async def _call(self) -> None:
        loop = asyncio.get_running_loop()
        with closing(self._socket), closing(self._sender):
            async with self.engine.running():
                loop.add_reader(self._socket, self._read)
                await self.engine.answer(request_to(self.model, **TIGHT), stays)
                assert self._answered is not None
                await self._answered
                loop.remove_reader(self._socket)

    def _on_change(self, iteration: Iteration | None) -> None:
        self._iterations += iteration is not None
        if iteration is not None and self._iterations == self.before:
            self.sent_at = time.perf_counter()
            self._sender.send(b"!")
        if self._request is not None and self._request.started and not self.after:
            self.after = self._iterations

    def _read(self) -> None:
        """Read the request, and answer it in a task, as the server does."""
        self._socket.recv(1)
        self.read_at = time.perf_counter()
        self._answered = asyncio.get_running_loop().create_task(self._answer())

    async def _answer(self) -> None:
        self.lag = self.engine.lag(self.read_at)
        self._request = request_to(self.model, **TIGHT)  # of the same batch
        await self.engine.answer(self._request, stays)


@pytest.fixture(scope="module")
def caller() -> Caller:
    caller = Caller(served("odenet-mnist"))
    caller.call()
    return caller


def test_a_request_that_arrives_during_an_iteration_joins_the_next_one(caller: Caller) -> None:
    assert caller.after == caller.before + 1


def test_the_time_that_a_request_waits_for_an_iteration_is_known(caller: Caller) -> None:
    assert caller.lag >= caller.read_at - caller.sent_at > 0


def test_bytes_do_not_wait_for_an_idle_engine(caller: Caller) -> None:
    assert caller.engine.lag(time.perf_counter() + 1) == 0
