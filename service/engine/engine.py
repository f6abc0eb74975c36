"""The engine: threads that each own a scheduler, and the way to them from an event loop."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import NamedTuple

from service.engine.admission import Admission
from service.engine.job import End, Job
from service.engine.scheduler import Counts, Scheduler, Turn
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

logger = logging.getLogger(__name__)


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
        on_change: Callable[[Turn | None], object] = lambda _: None,
        longest_turn: float = LONGEST_TURN,
    ) -> None:
        self.admission = Admission(queue_rows, threads)
        self._on_change = on_change
        self._threads = [EngineThread(Scheduler(self.admission, time.perf_counter), on_change) for _ in range(threads)]
        self._promises: dict[Job, Promise] = {}
        self._longest_turn = longest_turn
        self._open = False

    @property
    def counts(self) -> Counts:
        """What was done since the start."""
        return Counts.sum([thread.scheduler.counts for thread in self._threads])

    @property
    def open(self) -> bool:
        """Whether it takes jobs."""
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
        self._on_change(None)
        loop, watches = asyncio.get_running_loop(), list[asyncio.Task[None]]()
        thread = min(self._threads, key=lambda thread: thread.load)
        self._promises[job] = promise = Promise(thread, loop.create_future(), job.expected_seconds)
        thread.submit(job, promise.seconds)
        patience = loop.call_later(PATIENCE, lambda: watches.append(loop.create_task(_watch(job, thread, gone))))
        try:
            await promise.kept
        except asyncio.CancelledError as error:  # by the server, whose time to stop in good order is over
            thread.cancel(job)
            raise StoppingError(STOPPING) from error
        finally:
            patience.cancel()
            for watch in watches:
                watch.cancel()
        _raise(job)

    def _wake(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            thread, kept, seconds = self._promises.pop(job)
            thread.load -= seconds
            if not kept.done():
                kept.set_result(None)


class EngineThread:
    """A thread that owns a scheduler.

    What goes wrong in a turn of a lane ends what was in that (`service.engine.scheduler`). What goes wrong elsewhere is
    a mistake of the scheduler's, after which nothing that it holds is to be trusted: all of it ends as failed, and the
    thread goes on with nothing. Where even that goes wrong the thread ends, and `failure` says so.

    Attributes:
        scheduler: only to be looked at from outside.
        load: the seconds that what it has not answered yet was expected to take; kept by the event loop.
        rows: that are in flight after the last turn.
    """

    def __init__(self, scheduler: Scheduler, on_turn: Callable[[Turn], object]) -> None:
        self.scheduler = scheduler
        self.load = 0.0
        self.rows = 0
        self._on_turn = on_turn
        self._told: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._ended: list[Job] = []
        self._running = False
        self._turn_began: float | None = None
        self._thread = Thread()
        self._wake: Callable[[tuple[Job, ...]], object] = lambda _: None

    def start(self, wake: Callable[[tuple[Job, ...]], object]) -> None:
        """Begin, and call something with what ends: once a turn, as that wakes the event loop up."""
        self._wake, self._running = wake, True
        self._thread = Thread(target=self._run, name="engine", daemon=True)  # one that hangs keeps no process alive
        self._thread.start()

    def submit(self, job: Job, seconds: float) -> None:
        """Take a job in that is expected to take so long."""
        self.load += seconds
        job.on_end = self._ended.append
        self._told.put(partial(self._submit, job))

    def cancel(self, job: Job) -> None:
        """End a job, if it has not ended."""
        self._told.put(partial(self.scheduler.end, job, End.cancelled))

    def stop(self) -> None:
        """End all that was submitted, and return when that is done."""
        self._told.put(self._stop)
        self._thread.join()

    def failure(self, longest_turn: float) -> str | None:
        """What is wrong with it, if a turn may take so many seconds; None where all is well."""
        if not self._thread.is_alive():
            return "a thread of the engine has ended"
        began = self._turn_began
        if began is not None and time.monotonic() - began > longest_turn:
            return f"a turn of the engine takes longer than {longest_turn:g} s"
        return None

    def _submit(self, job: Job) -> None:
        try:
            self.scheduler.submit(job)
        except Exception:
            logger.exception("a request to %s cannot be begun", job.model.name)
            self.scheduler.give_up(job)

    def _stop(self) -> None:
        self._running = False
        self.scheduler.end_all(End.stopped)

    def _run(self) -> None:
        while self._running:
            told, turn = self._told.get() if self.scheduler.idle else None, None
            self._turn_began = time.monotonic()
            try:
                if told:
                    told()
                while not self._told.empty():
                    self._told.get()()
                turn = self.scheduler.turn()
            except Exception:
                logger.exception("the engine failed, and with it all that it was computing")
                self.scheduler.end_all(End.failed)
            if self._ended:
                self._wake(tuple(self._ended))
                self._ended.clear()
            self.rows = self.scheduler.rows
            if turn:
                self._tell(turn)
            self._turn_began = None

    def _tell(self, turn: Turn) -> None:
        """Tell of a turn; who listens takes nobody's answer away by failing."""
        try:
            self._on_turn(turn)
        except Exception:
            logger.exception("a turn of the engine cannot be counted")


class Promise(NamedTuple):
    """That a job will be ended.

    Attributes:
        by: the thread that will.
        kept: done when it was.
        seconds: what it is expected to take.
    """

    by: EngineThread
    kept: asyncio.Future[None]
    seconds: float


async def _watch(job: Job, thread: EngineThread, gone: Callable[[], Coroutine[None, None, None]]) -> None:
    """Cancel a job once nobody waits for it."""
    await gone()
    thread.cancel(job)


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
