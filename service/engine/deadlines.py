"""The deadlines of the requests that have not ended, in their order."""

import heapq
from collections.abc import Iterator
from itertools import count

from service.engine.request import EngineRequest


class Deadlines:
    """The requests that have a deadline, the earliest deadline first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, EngineRequest]] = []
        self._numbers = count()
        self._ended = 0

    def __bool__(self) -> bool:
        return len(self._heap) > self._ended

    def add(self, request: EngineRequest) -> None:
        """Add a request, if it has a deadline."""
        if request.deadline is not None:
            heapq.heappush(self._heap, (request.deadline, next(self._numbers), request))

    def discard(self, request: EngineRequest) -> None:
        """Remove a request that has ended. The request stays in the heap until more than half of the heap has ended."""
        if request.deadline is None:
            return
        self._ended += 1
        if self._ended > len(self._heap) / 2:
            self._heap = [entry for entry in self._heap if not entry[-1].end]
            heapq.heapify(self._heap)
            self._ended = 0

    @property
    def earliest(self) -> float | None:
        """The earliest deadline of the requests that have not ended; None if no request has a deadline."""
        while self._heap and self._heap[0][-1].end:
            heapq.heappop(self._heap)
            self._ended -= 1
        return self._heap[0][0] if self._heap else None

    def passed(self, now: float) -> Iterator[EngineRequest]:
        """Remove the requests whose deadline has passed, and yield those that have not ended."""
        while self._heap and self._heap[0][0] <= now:
            request = heapq.heappop(self._heap)[-1]
            self._ended -= 1  # it has ended and was counted, or the caller now ends and counts it
            if not request.end:
                yield request
