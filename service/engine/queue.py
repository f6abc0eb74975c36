"""The queue of a batch: requests whose images wait, by priority."""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator

from service.engine.plan import Plan
from service.engine.request import EngineRequest, Priority

SameLength = deque[EngineRequest]
"""Requests of one priority and of about the same length, in the order of their arrival."""


class RequestQueue:
    """Requests with images that have not started, by priority.

    Requests of about the same length (to a power of two) start first come, first served. Requests of different lengths
    take turns, one image each. So a long request delays a single image by one image, and the wait of a request is
    limited by the requests that came before it.

    Attributes:
        plans: the number of requests by their plan.
    """

    def __init__(self) -> None:
        self.plans = Counter[Plan]()
        self._by_priority: tuple[OrderedDict[int, SameLength], ...] = tuple(OrderedDict() for _ in Priority)

    def __bool__(self) -> bool:
        return any(self._by_priority)

    def __len__(self) -> int:
        """The number of requests."""
        return sum(len(same_length) for lengths in self._by_priority for same_length in lengths.values())

    def __iter__(self) -> Iterator[EngineRequest]:
        for lengths in self._by_priority:
            for same_length in lengths.values():
                yield from same_length

    def append(self, request: EngineRequest) -> None:
        """Add a request behind those of its priority and length."""
        self._by_priority[request.priority].setdefault(_length_class(request), deque()).append(request)
        self.plans[request.plan] += 1

    def remove(self, request: EngineRequest) -> None:
        """Remove a request that is in the queue."""
        lengths, length = self._by_priority[request.priority], _length_class(request)
        lengths[length].remove(request)
        self.plans[request.plan] -= 1
        if not self.plans[request.plan]:
            del self.plans[request.plan]
        if not lengths[length]:
            del lengths[length]

    def in_turn(self) -> Iterator[EngineRequest]:
        """The requests in the order in which their images start.

        For each request, the caller either starts an image and calls `started`, or passes over the request. A request
        whose image has started comes again in its next turn. A request that was passed over does not come again, and
        the next request of the same length has its turn.
        """
        for lengths in self._by_priority:
            passed = Counter[int]()
            while (length := next((each for each in lengths if passed[each] < len(lengths[each])), None)) is not None:
                request = lengths[length][passed[length]]
                started = request.started
                yield request
                passed[length] += request.started == started

    def started(self, request: EngineRequest) -> None:
        """Give the turn to the next length, and drop the request once all of its images have started."""
        self._by_priority[request.priority].move_to_end(_length_class(request))
        if not request.queued:
            self.remove(request)


def _length_class(request: EngineRequest) -> int:
    return len(request.images).bit_length()
