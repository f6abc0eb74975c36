"""The engine: one thread that owns the scheduler, and the way to it from an event loop."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from threading import Thread

from service.engine.admission import Admission
from service.engine.job import End, Job
from service.engine.scheduler import Counts, Scheduler
from service.errors import AbandonedError, ComputationError, DeadlineError, FieldError, StoppingError
from service.registry import ServedModel

SWITCH_SECONDS = 1e-4
"""For how long Python lets one thread keep another waiting. With its five milliseconds, a busy event loop would hold
the engine up between any two steps for longer than the steps take."""

PATIENCE = 5e-3
"""Seconds after which it is watched whether the caller is still there; to watch takes a tenth of the time of HTTP."""

STOPPING = FieldError("service", "is stopping; ask again")

logger = logging.getLogger(__name__)


class Engine:
    """Computes the answers to the requests of one event loop, in a thread of its own.

    Args:
        default: the model that is asked most.
        queue_rows: the images that may wait.

    Attributes:
        admission: what waits.
    """

    def __init__(self, default: ServedModel, queue_rows: int) -> None:
        self.admission = Admission(queue_rows)
        self._scheduler = Scheduler(default, self.admission, time.perf_counter)
        self._told: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._ended: list[Job] = []
        self._futures: dict[Job, asyncio.Future[None]] = {}
        self._open = self._running = False  # for more; at all

    @property
    def counts(self) -> Counts:
        """What was done since the start."""
        return self._scheduler.counts

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Compute for the event loop that runs; when that is over, what is not answered yet ends as stopped."""
        sys.setswitchinterval(SWITCH_SECONDS)
        thread = Thread(target=self._run, args=[asyncio.get_running_loop()], name="engine")
        self._open = self._running = True
        thread.start()
        try:
            yield
        finally:
            self._open = False
            self._told.put(self._stop)  # behind all that was asked
            await asyncio.to_thread(thread.join)

    async def answer(self, job: Job, gone: Callable[[], Coroutine[None, None, None]]) -> None:
        """Compute the answer to a job.

        Args:
            job: of which nothing has begun.
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
        self.admission.enter(len(job.images), job.priority)
        loop, watches = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        job.on_end = self._ended.append
        self._futures[job] = answered = loop.create_future()
        self._told.put(partial(self._scheduler.submit, job))
        patience = loop.call_later(PATIENCE, lambda: watches.append(loop.create_task(self._watch(job, gone))))
        try:
            await answered
        except asyncio.CancelledError as error:  # by the server, whose time to stop in good order is over
            self._cancel(job)
            raise StoppingError(STOPPING) from error
        finally:
            patience.cancel()
            for watch in watches:
                watch.cancel()
        _raise(job)

    async def _watch(self, job: Job, gone: Callable[[], Coroutine[None, None, None]]) -> None:
        """Cancel a job once nobody waits for it."""
        await gone()
        self._cancel(job)

    def _cancel(self, job: Job) -> None:
        self._told.put(partial(self._scheduler.end, job, End.cancelled))

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """What the thread does."""
        while self._running:
            told = self._told.get() if self._scheduler.idle else None
            try:
                if told:
                    told()
                while not self._told.empty():
                    self._told.get()()
                self._scheduler.turn()
            except Exception:
                logger.exception("the engine failed")
                self._scheduler.end_all(End.failed)
            self._deliver(loop)

    def _deliver(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let the event loop know what has ended: once for all that did in a turn, as each time wakes it up."""
        if self._ended:
            loop.call_soon_threadsafe(self._wake, tuple(self._ended))
            self._ended.clear()

    def _wake(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            answered = self._futures.pop(job)
            if not answered.done():
                answered.set_result(None)

    def _stop(self) -> None:
        self._running = False
        self._scheduler.end_all(End.stopped)


def _raise(job: Job) -> None:
    """Raise what a job that was not answered ended by."""
    match job.end:
        case End.expired:
            raise DeadlineError(FieldError("deadline_ms", "passed before there was an answer", _milliseconds(job)))
        case End.stopped:
            raise StoppingError(STOPPING)
        case End.cancelled:
            raise AbandonedError
        case End.failed:
            raise ComputationError(f"the computation of {job.model.name} failed")


def _milliseconds(job: Job) -> str:
    return f"{1e3 * (job.terms.seconds or 0):g}"
