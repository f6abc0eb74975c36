"""Fair turns between flows of requests."""

import asyncio
from asyncio import CancelledError, Future
from collections import deque


class FairTurns:
    """Lets a limited number of tasks work at a time, and divides the time fairly between the flows that want it.

    A flow is a sequence of tasks that belong together, such as those of a caller.

    The method is start-time fair queueing (Goyal, Vin and Cheng 1997, "Start-time fair queueing"): in virtual time, a
    turn begins when the previous turn of the same flow ends, but not before the present. The turn that begins first
    is next. So a flow with long turns waits longer for the next one. A turn is not interrupted.

    Args:
        most: the greatest number of tasks that work at a time.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._now = 0.0
        self._ends: dict[str, float] = {}
        self._waiting: dict[str, deque[Future[None]]] = {}

    async def begin(self, flow: str) -> None:
        """Wait for a turn of a flow."""
        if self._free:
            self._free -= 1
            return
        turn: Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(flow, deque()).append(turn)
        try:
            await turn
        except CancelledError:
            if not turn.cancelled():  # the turn had just begun
                self.end(flow, 0.0)
            raise

    def end(self, flow: str, seconds: float) -> None:
        """End a turn that has taken some seconds. The next turn begins."""
        self._ends[flow] = self._start(flow) + seconds
        self._free += 1
        while self._free and self._waiting:
            self._begin_next()
        self._ends = {each: end for each, end in self._ends.items() if end > self._now and self._waiting}

    def _start(self, flow: str) -> float:
        """When the next turn of a flow begins, in virtual time."""
        return max(self._ends.get(flow, 0.0), self._now)

    def _begin_next(self) -> None:
        flow = min(self._waiting, key=self._start)
        tasks = self._waiting.pop(flow)
        turn = tasks.popleft()
        if tasks:
            self._waiting[flow] = tasks  # behind the flows whose turns begin at the same time
        if not turn.cancelled():
            self._now = self._start(flow)
            self._free -= 1
            turn.set_result(None)
