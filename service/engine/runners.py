"""Two ways to run a scheduler: in the thread of the event loop, or in a thread of its own."""

import asyncio
import logging
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.scheduler import Iteration, Scheduler
from service.engine.tuning import EXPECT_SECONDS, MORE_TURNS

AT_ONCE = 1e-3
"""Seconds in which the event loop reads what has arrived during an iteration."""

LOOKS_KEPT = 4
"""The event loop looks for bytes twice between two iterations, and handles what it has read after the next one at the
latest."""

OnChange = Callable[[Iteration | None], object]
"""Called with each iteration after its end, and with None after requests have entered or left the queue without one."""

OnEnd = Callable[[tuple[EngineRequest, ...]], object]
"""Called in the event loop with the requests that have ended, at most once for each iteration."""

logger = logging.getLogger(__name__)


def report(on_change: OnChange, iteration: Iteration | None) -> None:
    """Report a change. An observer that fails is logged; its failure changes nothing else."""
    try:
        on_change(iteration)
    except Exception:
        logger.exception("a change of the engine cannot be reported")


class Runner(ABC):
    """Owns a scheduler, and runs its iterations for the event loop.

    A failure in an iteration of a batch ends the requests of that iteration (`service.engine.scheduler`). Any other
    failure is a bug of the scheduler, whose state can then not be trusted: all of its requests end as failed, and the
    runner goes on with an empty scheduler.

    Args:
        admission: adds up the work in the queue.
        on_change: called after each iteration, and after requests have ended without one.

    Attributes:
        load: estimated seconds of all requests that the runner has not answered; the event loop keeps it current.
        rows: the number of images in flight after the last iteration.
    """

    def __init__(self, admission: Admission, on_change: OnChange) -> None:
        self.load = 0.0
        self.rows = 0
        self._ended: list[EngineRequest] = []
        self._scheduler = Scheduler(admission, time.perf_counter, self._ended.append)
        self._on_change = on_change
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def start(self, on_end: OnEnd) -> None:
        """Start to run iterations for the running event loop."""
        self._loop, self._on_end = asyncio.get_running_loop(), on_end

    def submit(self, request: EngineRequest, seconds: float) -> None:
        """Submit a request that is estimated to take some seconds."""
        self.load += seconds
        self._run_in_engine(partial(self._submit, request))

    def cancel(self, request: EngineRequest) -> None:
        """Cancel a request, if it has not ended."""
        self._run_in_engine(partial(self._scheduler.end, request, End.cancelled))

    def lag(self, read_at: float) -> float:  # noqa: ARG002 (a runner in the event loop uses it)
        """How long bytes that the event loop read at a time may have waited before, because of the runner."""
        return 0.0

    def expect(self, arrival: object) -> None:  # noqa: B027 (a thread takes the requests that are there)
        """Note that a request is about to be submitted, after its bytes have been read."""

    def arrived(self, arrival: object) -> None:  # noqa: B027
        """Note that an expected request has been submitted, or that it will not be."""

    @abstractmethod
    async def stop(self) -> None:
        """End all requests as stopped, and wait until no iteration runs."""

    @abstractmethod
    def failure(self, longest_iteration: float) -> str | None:
        """Why the runner will answer no more requests; None while all is well.

        Args:
            longest_iteration: seconds after which an iteration is taken to hang.
        """

    def _run_in_engine(self, call: Callable[[], None]) -> None:
        """Hand a call to the engine, which makes it before its next iteration."""
        self._calls.put(call)

    @abstractmethod
    def _report_ended(self, requests: tuple[EngineRequest, ...]) -> None:
        """Report the requests that have ended to the event loop."""

    def _submit(self, request: EngineRequest) -> None:
        try:
            self._scheduler.submit(request)
        except Exception:
            logger.exception("a request to %s cannot be queued", request.model.name)
            self._scheduler.give_up(request, End.failed)

    def _iterate(self, call: Callable[[], None] | None = None) -> None:
        """Make a call and all waiting calls, run an iteration, and report what has changed."""
        iteration = None
        try:
            if call:
                call()
            while not self._calls.empty():
                self._calls.get()()
            iteration = self._scheduler.iterate()
        except Exception:
            logger.exception("the engine failed; all of its requests end as failed")
            self._scheduler.end_all(End.failed)
        ended = tuple(self._ended)
        self._ended.clear()
        if ended:
            self._report_ended(ended)
        self.rows = self._scheduler.rows
        if iteration or ended:
            report(self._on_change, iteration)


class LoopRunner(Runner):
    """Runs the iterations in the thread of the event loop, which serves its connections between two iterations.

    This saves the hand-over of each request and each answer between two threads, which share Python's lock and the
    caches of a processor. An iteration that hangs would hang the event loop, so this is only for the CPU.

    The next iteration waits for the requests that are expected, so that they join the same batch. If one of them
    arrives, another may be about to be expected. So the iteration then also waits for `MORE_TURNS` turns of the event
    loop. It waits no longer than `EXPECT_SECONDS`. What has not arrived by then is expected no longer, so that a caller
    who never sends a request causes a single wait.
    """

    def __init__(self, admission: Admission, on_change: OnChange) -> None:
        super().__init__(admission, on_change)
        self._scheduled = False
        self._looks = deque[tuple[float, float]](maxlen=LOOKS_KEPT)
        self._expected = set[object]()
        self._more_turns = 0
        self._wait_until = 0.0
        self._waiting: asyncio.TimerHandle | None = None

    def expect(self, arrival: object) -> None:
        """Let the next iteration wait for a request."""
        self._expected.add(arrival)

    def arrived(self, arrival: object) -> None:
        """Wait no longer for a request, but some turns of the event loop for the next one."""
        self._expected.discard(arrival)
        if self._scheduled:
            self._more_turns = MORE_TURNS
        if not self._expected and self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
            self._loop.call_soon(self._turn)

    def lag(self, read_at: float) -> float:
        """How long bytes may have waited: since the event loop looked for bytes before it read them."""
        for looked_at, until in reversed(self._looks):
            if looked_at <= read_at:
                return read_at - looked_at if read_at < until else 0.0
        return 0.0

    async def stop(self) -> None:
        """End all requests as stopped."""
        self._calls.put(partial(self._scheduler.end_all, End.stopped))
        self._iterate()

    def failure(self, longest_iteration: float) -> None:
        """None: while an iteration hangs, the event loop cannot ask. The supervisor notices a loop that hangs."""

    def _run_in_engine(self, call: Callable[[], None]) -> None:
        super()._run_in_engine(call)
        self._schedule()

    def _report_ended(self, requests: tuple[EngineRequest, ...]) -> None:
        self._on_end(requests)

    def _schedule(self) -> None:
        """Run an iteration after the event loop has served its connections once."""
        if not self._scheduled:
            self._scheduled = True
            self._wait_until = time.perf_counter() + EXPECT_SECONDS
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        began = time.perf_counter()
        if self._expected and began < self._wait_until:
            self._waiting = self._loop.call_later(self._wait_until - began, self._expect_no_longer)
            return
        if self._more_turns and began < self._wait_until:
            self._more_turns -= 1
            self._loop.call_soon(self._turn)
            return
        self._more_turns = 0
        self._scheduled = False
        try:
            self._iterate()
        finally:
            again = not self._scheduler.idle
            self._looks.append((began, math.inf if again else time.perf_counter() + AT_ONCE))
            if again and not self._scheduled:
                self._scheduled = True
                self._loop.call_soon(self._look_again)

    def _look_again(self) -> None:
        """Run an iteration after the tasks of the requests that have just been read, and after one more look."""
        now = time.perf_counter()
        self._looks.append((now, math.inf))
        self._wait_until = now + EXPECT_SECONDS
        self._loop.call_soon(self._turn)

    def _expect_no_longer(self) -> None:
        self._expected.clear()
        self._waiting = None
        self._turn()


class ThreadRunner(Runner):
    """Runs the iterations in a thread of its own. If the thread ends or hangs, `failure` says so."""

    def __init__(self, admission: Admission, on_change: OnChange) -> None:
        super().__init__(admission, on_change)
        self._running = False
        self._iteration_began: float | None = None
        self._thread = Thread()

    def start(self, on_end: OnEnd) -> None:
        """Start the thread."""
        super().start(on_end)
        self._running = True
        self._thread = Thread(target=self._run, name="engine", daemon=True)  # so a hanging thread ends with the process
        self._thread.start()

    async def stop(self) -> None:
        """End all requests as stopped, and wait until the thread has ended."""
        self._run_in_engine(self._stop)
        await asyncio.to_thread(self._thread.join)

    def failure(self, longest_iteration: float) -> str | None:
        """Why the thread will answer no more requests; None while all is well."""
        if not self._thread.is_alive():
            return "a thread of the engine has ended"
        began = self._iteration_began
        if began is not None and time.monotonic() - began > longest_iteration:
            return f"an iteration of the engine takes longer than {longest_iteration:g} s"
        return None

    def _report_ended(self, requests: tuple[EngineRequest, ...]) -> None:
        self._loop.call_soon_threadsafe(self._on_end, requests)

    def _stop(self) -> None:
        self._running = False
        self._scheduler.end_all(End.stopped)

    def _run(self) -> None:
        while self._running:
            call = self._calls.get() if self._scheduler.idle else None
            self._iteration_began = time.monotonic()
            self._iterate(call)
            self._iteration_began = None
