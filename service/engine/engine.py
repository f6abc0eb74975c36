"""The engine: the way from an event loop to the threads that compute."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import NamedTuple

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.scheduler import Counts, Iteration
from service.engine.thread import EngineThread
from service.errors import AbandonedError, ComputationError, DeadlineError, FieldError, StoppingError

SWITCH_SECONDS = 1e-4
"""For how long Python lets one thread keep another waiting. With its five milliseconds, a busy event loop would hold
the engine up between any two steps for longer than the steps take."""

PATIENCE = 5e-3
"""Seconds after which it is watched whether the caller is still there; to watch takes a tenth of the time of HTTP."""

LONGEST_TURN = 30.0
"""Seconds after which a turn is taken never to end; it is made to take milliseconds, and the slowest, which captures
graphs on a GPU, takes a few seconds."""

STOPPING = FieldError("service", "is stopping; ask again")


class Engine:
    """Computes the answers to the requests of one event loop, beside it.

    Args:
        queue_rows: the images that may wait.
        threads: that compute, each with an in-flight batch of its own.
        on_change: called when something is let in, and by the threads with each of their turns after it.
        longest_turn: seconds after which a turn is taken never to end.

    Attributes:
        admission: what waits.
    """

    def __init__(
        self,
        queue_rows: int,
        threads: int = 1,
        on_change: Callable[[Iteration | None], object] = lambda _: None,
        longest_turn: float = LONGEST_TURN,
    ) -> None:
        self.admission = Admission(queue_rows, threads)
        self._on_change = on_change
        self._threads = [EngineThread(self.admission, time.perf_counter, on_change) for _ in range(threads)]
        self._promises: dict[EngineRequest, Promise] = {}
        self._longest_turn = longest_turn
        self._open = False

    @property
    def counts(self) -> Counts:
        """What was done since the start."""
        return Counts.sum([thread.scheduler.counts for thread in self._threads])

    @property
    def open(self) -> bool:
        """Whether it takes requests."""
        return self._open

    @property
    def failure(self) -> str | None:
        """What is wrong with a thread, which will then answer nobody any more; None where all is well."""
        if not self._open:
            return None
        failures = (thread.failure(self._longest_turn) for thread in self._threads)
        return next((failure for failure in failures if failure), None)

    @property
    def rows(self) -> int:
        """The images in flight, as of each thread's last turn."""
        return sum(thread.rows for thread in self._threads)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute for the event loop that runs; when that is over, what is not answered yet ends as stopped."""
        sys.setswitchinterval(SWITCH_SECONDS)
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start(lambda ended: loop.call_soon_threadsafe(self._wake, ended))
        self._open = True
        try:
            yield
        finally:
            failed, self._open = self.failure, False
            if not failed:  # or it would be waited for in vain
                await asyncio.gather(*(asyncio.to_thread(thread.stop) for thread in self._threads))

    async def answer(self, request: EngineRequest, gone: Callable[[], Coroutine[None, None, None]]) -> None:
        """Compute the answer to a request.

        Args:
            request: of which nothing has begun.
            gone: returns once nobody waits for the answer any more, of which then no more is computed. It is only
                asked where that saves something.

        Raises:
            OverloadedError: there is no room in the queue.
            DeadlineError: the deadline passed.
            StoppingError: the service stops first.
            AbandonedError: nobody waits any more.
            ComputationError: the computation failed.
        """
        if not self._open:
            raise StoppingError(STOPPING)
        self.admission.enter(len(request.images), request.priority)
        self._on_change(None)
        loop, watches = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        thread = min(self._threads, key=lambda thread: thread.load)
        self._promises[request] = promise = Promise(thread, loop.create_future(), request.expected_seconds)
        thread.submit(request, promise.seconds)
        patience = loop.call_later(PATIENCE, lambda: watches.append(loop.create_task(_watch(request, thread, gone))))
        try:
            await promise.kept
        except asyncio.CancelledError as error:  # by the server, whose time to stop in good order is over
            thread.cancel(request)
            raise StoppingError(STOPPING) from error
        finally:
            patience.cancel()
            for watch in watches:
                watch.cancel()
        _raise(request)

    def _wake(self, requests: tuple[EngineRequest, ...]) -> None:
        for request in requests:
            thread, kept, seconds = self._promises.pop(request)
            thread.load -= seconds
            if not kept.done():
                kept.set_result(None)


class Promise(NamedTuple):
    """That a request will be ended.

    Attributes:
        by: the thread that will.
        kept: done when it was.
        seconds: what it is expected to take.
    """

    by: EngineThread
    kept: asyncio.Future[None]
    seconds: float


async def _watch(request: EngineRequest, thread: EngineThread, gone: Callable[[], Coroutine[None, None, None]]) -> None:
    """Cancel a request once nobody waits for it."""
    await gone()
    thread.cancel(request)


def _raise(request: EngineRequest) -> None:
    """Raise what a request that was not answered ended by."""
    match request.end:
        case End.expired:
            raise DeadlineError(FieldError("deadline_ms", "passed before there was an answer", _milliseconds(request)))
        case End.stopped:
            raise StoppingError(STOPPING)
        case End.cancelled:
            raise AbandonedError
        case End.failed:
            raise ComputationError(f"the computation of {request.model.name} failed")


def _milliseconds(request: EngineRequest) -> str:
    return f"{1e3 * (request.plan.seconds or 0):g}"
