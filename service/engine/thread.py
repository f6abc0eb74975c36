"""A thread that computes: it owns a scheduler and runs its iterations."""

import logging
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Lock, Thread

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.scheduler import Iteration, Scheduler

OnChange = Callable[[Iteration | None], object]
"""Called after an iteration with it, and with None after a request has entered the queue."""

Wake = Callable[[tuple[EngineRequest, ...]], object]
"""Called with the requests that have ended."""

logger = logging.getLogger(__name__)


def report(on_change: OnChange, iteration: Iteration | None) -> None:
    """Report a change. An observer that fails is logged; its failure changes nothing else."""
    try:
        on_change(iteration)
    except Exception:
        logger.exception("a change of the engine cannot be reported")


class EngineThread:
    """A thread that owns a scheduler.

    A failure in an iteration of a batch ends the requests of that iteration (`service.engine.scheduler`). Any other
    failure is a bug of the scheduler, whose state can then not be trusted: all of its requests end as failed, and the
    thread goes on with an empty scheduler. If even that fails, the thread ends, and `failure` says so.

    Args:
        admission: counts the images in the queue.
        on_change: called after each iteration.

    Attributes:
        load: estimated seconds of all requests that the thread has not answered; the event loop keeps it current.
        rows: the number of images in flight after the last iteration.
    """

    def __init__(self, admission: Admission, on_change: OnChange) -> None:
        self.load = 0.0
        self.rows = 0
        self._ended: list[EngineRequest] = []
        self._scheduler = Scheduler(admission, time.perf_counter, self._ended.append)
        self._on_change = on_change
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._turn = Lock()  # held by the thread that uses the scheduler
        self._running = False
        self._iteration_began: float | None = None
        self._thread = Thread()
        self._wake: Wake = lambda _: None

    def start(self, wake: Wake) -> None:
        """Start the thread.

        Args:
            wake: called by the thread with the requests that have ended, at most once per iteration, because each call
                wakes the event loop up.
        """
        self._wake, self._running = wake, True
        self._thread = Thread(target=self._run, name="engine", daemon=True)  # so a hanging thread ends with the process
        self._thread.start()

    def submit(self, request: EngineRequest, seconds: float) -> None:
        """Submit a request that is estimated to take some seconds."""
        self.load += seconds
        self._calls.put(partial(self._submit, request))

    def compute_here(self, request: EngineRequest) -> bool:
        """Compute a request in the calling thread, if the engine's own thread has nothing to do.

        Returns:
            Whether the request has ended. Otherwise nothing has been done.
        """
        if not self._turn.acquire(blocking=False):
            return False
        try:
            if not self._scheduler.idle or not self._calls.empty():
                return False
            self._submit(request)
            while not request.end:
                self._report(self._iterate(None))
            self._ended.clear()
            return True
        finally:
            self._turn.release()

    def cancel(self, request: EngineRequest) -> None:
        """Cancel a request, if it has not ended."""
        self._calls.put(partial(self._scheduler.end, request, End.cancelled))

    def stop(self) -> None:
        """End all requests as stopped, and wait until the thread has ended."""
        self._calls.put(self._stop)
        self._thread.join()

    def failure(self, longest_iteration: float) -> str | None:
        """Why the thread will answer no more requests; None while all is well.

        Args:
            longest_iteration: seconds after which an iteration is taken to hang.
        """
        if not self._thread.is_alive():
            return "a thread of the engine has ended"
        began = self._iteration_began
        if began is not None and time.monotonic() - began > longest_iteration:
            return f"an iteration of the engine takes longer than {longest_iteration:g} s"
        return None

    def _submit(self, request: EngineRequest) -> None:
        try:
            self._scheduler.submit(request)
        except Exception:
            logger.exception("a request to %s cannot be queued", request.model.name)
            self._scheduler.give_up(request)

    def _stop(self) -> None:
        self._running = False
        self._scheduler.end_all(End.stopped)

    def _run(self) -> None:
        while self._running:
            call = self._calls.get() if self._scheduler.idle else None
            with self._turn:
                iteration = self._iterate(call)
                if self._ended:
                    self._wake(tuple(self._ended))
                    self._ended.clear()
                self._report(iteration)

    def _iterate(self, call: Callable[[], None] | None) -> Iteration | None:
        """Make the calls that other threads have asked for, the given one first, and run an iteration."""
        self._iteration_began = time.monotonic()
        try:
            if call:
                call()
            while not self._calls.empty():
                self._calls.get()()
            return self._scheduler.iterate()
        except Exception:
            logger.exception("the engine failed; all of its requests end as failed")
            self._scheduler.end_all(End.failed)
            return None

    def _report(self, iteration: Iteration | None) -> None:
        """Report an iteration that has ended."""
        self._iteration_began = None
        self.rows = self._scheduler.rows
        if iteration:
            report(self._on_change, iteration)
