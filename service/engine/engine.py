"""The engine: the way from an event loop to the threads that compute."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.thread import EngineThread, OnChange, report
from service.engine.tuning import LONGEST_ITERATION, SWITCH_SECONDS
from service.errors import AbandonedError, ComputationError, DeadlineError, FieldError, StoppingError

STOPPING = FieldError("service", "is stopping; ask again")

OnDisconnect = Callable[[Callable[[], object]], object]
"""Calls a function once the caller has disconnected; at once if the caller already has."""


class Engine:
    """Computes the answers to the requests of one event loop, in threads beside the loop.

    Args:
        queue_rows: the most images in the queue.
        threads: the number of threads, each with batches of its own.
        on_change: called when a request enters the queue, and by the threads after each iteration.
        longest_iteration: seconds after which an iteration is taken to hang.
        in_loop: whether a short request that is alone is computed in the thread of the event loop, which saves two
            hand-overs between threads. A device that may hang needs False: a hanging event loop reports no failure.

    Attributes:
        admission: counts the images in the queue.
    """

    def __init__(
        self,
        queue_rows: int,
        threads: int = 1,
        on_change: OnChange = lambda _: None,
        longest_iteration: float = LONGEST_ITERATION,
        *,
        in_loop: bool = False,
    ) -> None:
        self.admission = Admission(queue_rows, threads)
        self._on_change = on_change
        self._threads = [EngineThread(self.admission, on_change) for _ in range(threads)]
        self._promises: dict[EngineRequest, Promise] = {}
        self._longest_iteration = longest_iteration
        self._in_loop = in_loop
        self._arrivals = 0
        self._open = False

    @property
    def open(self) -> bool:
        """Whether the engine accepts requests."""
        return self._open

    @property
    def failure(self) -> str | None:
        """Why a thread will answer no more requests; None while all is well."""
        if not self._open:
            return None
        failures = (thread.failure(self._longest_iteration) for thread in self._threads)
        return next((failure for failure in failures if failure), None)

    @property
    def rows(self) -> int:
        """The number of images in flight, after the last iteration of each thread."""
        return sum(thread.rows for thread in self._threads)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute for the running event loop. At the end of the block, all unanswered requests end as stopped."""
        sys.setswitchinterval(SWITCH_SECONDS)
        loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start(lambda ended: loop.call_soon_threadsafe(self._wake, ended))
        self._open = True
        try:
            yield
        finally:
            failed, self._open = self.failure, False
            if not failed:  # a failed thread would never end
                await asyncio.gather(*(asyncio.to_thread(thread.stop) for thread in self._threads))

    async def answer(self, request: EngineRequest, on_disconnect: OnDisconnect) -> None:
        """Compute the answer to a request.

        Args:
            request: the request; none of its images has started.
            on_disconnect: calls a function once the caller has disconnected; the rest of the request is then not
                computed.

        Raises:
            OverloadedError: the queue has no room.
            DeadlineError: the deadline passed.
            StoppingError: the service stopped first.
            AbandonedError: the caller disconnected.
            ComputationError: the computation failed.
        """
        alone = self._in_loop and request.short and not self._promises and await self._is_alone()
        if not self._open:
            raise StoppingError(STOPPING)
        loop = asyncio.get_running_loop()
        thread = min(self._threads, key=lambda thread: thread.load)
        self.admission.enter(len(request.images), request.priority)
        if alone and thread.compute_here(request):
            _raise_unless_answered(request)
            return
        promise = Promise(thread, loop.create_future(), request.expected_seconds)
        self._promises[request] = promise
        thread.submit(request, promise.seconds)
        report(self._on_change, None)
        on_disconnect(partial(thread.cancel, request))
        try:
            await promise.kept
        except asyncio.CancelledError as error:  # the server cancels tasks once its time to stop is over
            thread.cancel(request)
            raise StoppingError(STOPPING) from error
        _raise_unless_answered(request)

    async def _is_alone(self) -> bool:
        """Whether no other request arrives while the event loop reads from all connections once."""
        self._arrivals += 1
        arrivals = self._arrivals
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            raise StoppingError(STOPPING) from error
        return self._arrivals == arrivals and not self._promises

    def _wake(self, requests: tuple[EngineRequest, ...]) -> None:
        """Wake up the tasks that wait for requests which have ended."""
        for request in requests:
            thread, kept, seconds = self._promises.pop(request)
            thread.load -= seconds
            if not kept.done():
                kept.set_result(None)


class Promise(NamedTuple):
    """A promise that a request will end.

    Attributes:
        thread: the thread that will end the request.
        kept: done once the request has ended.
        seconds: estimated seconds of the request.
    """

    thread: EngineThread
    kept: asyncio.Future[None]
    seconds: float


def _raise_unless_answered(request: EngineRequest) -> None:
    """Raise the error for a request that ended without an answer."""
    match request.end:
        case End.expired:
            milliseconds = f"{1e3 * (request.plan.seconds or 0):g}"
            raise DeadlineError(FieldError("deadline_ms", "passed before there was an answer", milliseconds))
        case End.stopped:
            raise StoppingError(STOPPING)
        case End.cancelled:
            raise AbandonedError
        case End.failed:
            raise ComputationError(f"the computation of {request.model.name} failed")
