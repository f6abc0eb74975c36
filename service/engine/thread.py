"""A thread that computes: it owns a scheduler."""

import logging
import time
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread

from service.engine.admission import Admission
from service.engine.request import End, EngineRequest
from service.engine.scheduler import Iteration, Scheduler

logger = logging.getLogger(__name__)


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

    def __init__(
        self, admission: Admission, clock: Callable[[], float], on_turn: Callable[[Iteration], object]
    ) -> None:
        self._ended: list[EngineRequest] = []
        self.scheduler = Scheduler(admission, clock, self._ended.append)
        self.load = 0.0
        self.rows = 0
        self._on_turn = on_turn
        self._told: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._running = False
        self._turn_began: float | None = None
        self._thread = Thread()
        self._wake: Callable[[tuple[EngineRequest, ...]], object] = lambda _: None

    def start(self, wake: Callable[[tuple[EngineRequest, ...]], object]) -> None:
        """Begin, and call something with what ends: once a turn, as that wakes the event loop up."""
        self._wake, self._running = wake, True
        self._thread = Thread(target=self._run, name="engine", daemon=True)  # one that hangs keeps no process alive
        self._thread.start()

    def submit(self, request: EngineRequest, seconds: float) -> None:
        """Take a request in that is expected to take so long."""
        self.load += seconds
        self._told.put(partial(self._submit, request))

    def cancel(self, request: EngineRequest) -> None:
        """End a request, if it has not ended."""
        self._told.put(partial(self.scheduler.end, request, End.cancelled))

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

    def _submit(self, request: EngineRequest) -> None:
        try:
            self.scheduler.submit(request)
        except Exception:
            logger.exception("a request to %s cannot be begun", request.model.name)
            self.scheduler.give_up(request)

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

    def _tell(self, turn: Iteration) -> None:
        """Tell of a turn; who listens takes nobody's answer away by failing."""
        try:
            self._on_turn(turn)
        except Exception:
            logger.exception("a turn of the engine cannot be counted")
