"""The queue of a batch: requests whose images wait, by priority, caller and size."""

from bisect import bisect_right, insort
from collections import Counter, OrderedDict
from collections.abc import Iterator
from operator import attrgetter

from service.engine.plan import Plan
from service.engine.request import NANOSECONDS, EngineRequest, Priority

SameSize = list[EngineRequest]
"""Requests of one caller and of about the same work, in the order in which they are due."""

DUE = attrgetter("due")

Turns = OrderedDict[str, OrderedDict[int, SameSize]]
"""The requests of one priority by caller, and then by size. The next turn is that of the first caller and size."""


class RequestQueue:
    """Requests with images that have not started, by priority.

    Callers take turns, one image each. The requests of a caller that differ in their expected work (to a power of two)
    take turns too, one image each. Among requests of about the same work, the one that is due first starts first. So a
    caller with many requests delays the request of another caller by an image, and a long request delays a single image
    of its own caller by an image.

    Attributes:
        plans: the number of requests by their plan.
    """

    def __init__(self) -> None:
        self.plans = Counter[Plan]()
        self._by_priority: tuple[Turns, ...] = tuple(OrderedDict() for _ in Priority)

    def __bool__(self) -> bool:
        return any(self._by_priority)

    def __len__(self) -> int:
        """The number of requests."""
        return self.plans.total()

    def __iter__(self) -> Iterator[EngineRequest]:
        for turns in self._by_priority:
            for sizes in turns.values():
                for same_size in sizes.values():
                    yield from same_size

    def append(self, request: EngineRequest) -> None:
        """Add a request behind those of its priority, caller and size that are due before it or at the same time."""
        demand = request.demand
        sizes = self._by_priority[demand.priority].setdefault(demand.caller, OrderedDict())
        insort(sizes.setdefault(demand.size, []), request, key=DUE)
        self.plans[request.plan] += 1

    def remove(self, request: EngineRequest) -> None:
        """Remove a request that is in the queue."""
        demand = request.demand
        turns = self._by_priority[demand.priority]
        sizes = turns[demand.caller]
        sizes[demand.size].remove(request)
        self.plans[request.plan] -= 1
        if not self.plans[request.plan]:
            del self.plans[request.plan]
        if not sizes[demand.size]:
            del sizes[demand.size]
            if not sizes:
                del turns[demand.caller]

    def seconds_ahead(self, request: EngineRequest) -> float:
        """The expected seconds of the images that start before a request, of the same caller and size."""
        demand = request.demand
        sizes = self._by_priority[demand.priority].get(demand.caller)
        same_size: SameSize = [] if sizes is None else sizes.get(demand.size, [])
        ahead = same_size[: bisect_right(same_size, request.due, key=DUE)]
        return sum(each.queued * each.demand.image_work for each in ahead) / NANOSECONDS

    def in_turn(self) -> Iterator[EngineRequest]:
        """The requests in the order in which their images start.

        For each request, the caller of this method starts an image and calls `started`, or removes the request, or
        passes over it. A request whose image has started comes again in its next turn. A request that was passed over
        does not come again, and the next request of the same caller and size has its turn.
        """
        for turns in self._by_priority:
            passed = Counter[tuple[str, int]]()
            while (request := _next(turns, passed)) is not None:
                started = request.started
                yield request
                if request.started == started and not request.end:
                    passed[request.demand.caller, request.demand.size] += 1

    def started(self, request: EngineRequest) -> None:
        """Give the turn to the next caller and size, and drop the request once all of its images have started."""
        demand = request.demand
        turns = self._by_priority[demand.priority]
        turns.move_to_end(demand.caller)
        turns[demand.caller].move_to_end(demand.size)
        if not request.queued:
            self.remove(request)


def _next(turns: Turns, passed: Counter[tuple[str, int]]) -> EngineRequest | None:
    """The request whose turn it is; None if all were passed over.

    Args:
        turns: the requests.
        passed: how many requests of a caller and a size were passed over.
    """
    for caller, sizes in turns.items():
        for size, same_size in sizes.items():
            if (index := passed[caller, size]) < len(same_size):
                return same_size[index]
    return None
