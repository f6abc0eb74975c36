"""The engine: receives the requests of an event loop, and has a runner compute them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context, copy_context
from functools import partial
from typing import NamedTuple

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.runners import LoopRunner, OnChange, Runner, ThreadRunner, report
from service.engine.tuning import LONGEST_ITERATION, SWITCH_SECONDS
from service.errors import AbandonedError, ComputationError, DeadlineError, FieldError, StoppingError

STOPPING = FieldError("service", "is stopping; ask again")

OnDisconnect = Callable[[Callable[[], object]], object]
"""Calls a function once the caller has disconnected; at once if the caller already has."""


class Engine:
    """Computes the answers to the requests of one event loop.

    Args:
        queue_seconds: the longest time by which other work may delay an admitted request.
        threads: the number of threads that compute next to the event loop, each with its own batches; 0 to compute
            in the thread of the event loop.
        on_change: called when a request enters the queue, after each iteration, and when requests end without one.
        on_end: called with each request that has ended, in the context of the task that asked, after the task has been
            woken up. So no caller waits for this call, and a request whose task was cancelled is reported too.
        longest_iteration: seconds after which an iteration in a thread is taken to hang.

    Attributes:
        admission: adds up the work in the queue.
    """

    def __init__(
        self,
        queue_seconds: float,
        threads: int = 1,
        on_change: OnChange = lambda _: None,
        on_end: Callable[[EngineRequest], object] = lambda _: None,
        longest_iteration: float = LONGEST_ITERATION,
    ) -> None:
        self.admission = Admission(queue_seconds, max(1, threads))
        self._on_change = on_change
        self._report_end = on_end
        kinds: list[type[Runner]] = [ThreadRunner] * threads or [LoopRunner]
        self._runners = [kind(self.admission, on_change) for kind in kinds]
        self._promises: dict[EngineRequest, Promise] = {}
        self._longest_iteration = longest_iteration
        self._open = False

    @property
    def open(self) -> bool:
        """Whether the engine accepts requests."""
        return self._open

    @property
    def failure(self) -> str | None:
        """Why the engine will answer no more requests; None while all is well."""
        if not self._open:
            return None
        failures = (runner.failure(self._longest_iteration) for runner in self._runners)
        return next((failure for failure in failures if failure), None)

    @property
    def rows(self) -> int:
        """The number of images in flight, after the last iteration."""
        return sum(runner.rows for runner in self._runners)

    def lag(self, read_at: float) -> float:
        """How long bytes that the event loop read at a time may have waited before, because the loop computed."""
        return self._runners[0].lag(read_at)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Expect a request to be submitted soon after the end of the block, which waits for the bytes of the request.

        The requests that arrive together then join one batch, even if their bytes need several iterations of the event
        loop. An engine that computes in threads does not wait.
        """
        arrival = object()
        self._runners[0].expect(arrival)
        try:
            yield
        finally:
            self._runners[0].arrived(arrival)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute for the running event loop. At the end of the block, all unanswered requests end as stopped."""
        sys.setswitchinterval(SWITCH_SECONDS)
        for runner in self._runners:
            runner.start(self._on_end)
        self._open = True
        try:
            yield
        finally:
            failed, self._open = self.failure, False
            if not failed:  # a failed thread would never end
                await asyncio.gather(*(runner.stop() for runner in self._runners))

    async def answer(self, request: EngineRequest, on_disconnect: OnDisconnect) -> None:
        """Compute the answer to a request.

        Args:
            request: the request; none of its images has started.
            on_disconnect: calls a function once the caller has disconnected; the rest of the request is then not
                computed.

        Raises:
            OverloadedError: other work would delay the request too long, or has delayed it too long.
            DeadlineError: the deadline passed.
            StoppingError: the service stopped first.
            AbandonedError: the caller disconnected.
            ComputationError: the computation failed.
        """
        if not self._open:
            raise StoppingError(STOPPING)
        runner = min(self._runners, key=lambda runner: runner.load)
        self.admission.enter(request.demand)
        kept = asyncio.get_running_loop().create_future()
        promise = Promise(runner, kept, request.demand.seconds, copy_context())
        self._promises[request] = promise
        runner.submit(request, promise.seconds)
        report(self._on_change, None)
        on_disconnect(partial(runner.cancel, request))
        try:
            await kept
        except asyncio.CancelledError as error:  # the server cancels tasks once its time to stop is over
            runner.cancel(request)
            raise StoppingError(STOPPING) from error
        if request.end is End.overdue:
            raise self.admission.refusal(request.demand)
        _raise_unless_answered(request)

    def _on_end(self, requests: tuple[EngineRequest, ...]) -> None:
        """Wake up the tasks that wait for requests which have ended, and report the requests."""
        for request in requests:
            runner, kept, seconds, context = self._promises.pop(request)
            runner.load -= seconds
            if not kept.done():
                kept.set_result(None)
            kept.get_loop().call_soon(self._report_end, request, context=context)


class Promise(NamedTuple):
    """A promise that a request will end.

    Attributes:
        runner: computes the request.
        kept: done once the request has ended.
        seconds: estimated seconds of the request.
        context: the context of the task that asked.
    """

    runner: Runner
    kept: asyncio.Future[None]
    seconds: float
    context: Context


def _raise_unless_answered(request: EngineRequest) -> None:
    """Raise the error for a request that ended without an answer."""
    match request.end:
        case End.expired:
            milliseconds = f"{1e3 * (request.plan.seconds or 0):g}"
            raise DeadlineError(FieldError("deadline_ms", "leaves no time for an answer", milliseconds))
        case End.stopped:
            raise StoppingError(STOPPING)
        case End.cancelled:
            raise AbandonedError
        case End.failed:
            raise ComputationError(f"the computation of {request.model.name} failed")
