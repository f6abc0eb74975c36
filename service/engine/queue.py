"""The queue of a batch: requests whose images wait, by priority."""

from collections import deque
from collections.abc import Iterator

from service.engine.request import EngineRequest, Priority


class RequestQueue:
    """Requests with images that have not started, by priority.

    Requests of about the same length (to a power of two) start first come, first served. Requests of different lengths
    take turns, one image each. So a long request delays a single image by one image, and the wait of a request is
    limited by the requests that came before it.
    """

    def __init__(self) -> None:
        self._by_priority: tuple[deque[deque[EngineRequest]], ...] = tuple(deque() for _ in Priority)

    def __len__(self) -> int:
        """The number of requests."""
        return sum(len(same_length) for lengths in self._by_priority for same_length in lengths)

    def __iter__(self) -> Iterator[EngineRequest]:
        for lengths in self._by_priority:
            for same_length in lengths:
                yield from same_length

    def append(self, request: EngineRequest) -> None:
        """Add a request behind those of its priority and length."""
        lengths = self._by_priority[request.priority]
        for same_length in lengths:
            if _length_class(same_length[0]) == _length_class(request):
                same_length.append(request)
                return
        lengths.append(deque([request]))

    def remove(self, request: EngineRequest) -> None:
        """Remove a request that is in the queue."""
        lengths = self._by_priority[request.priority]
        same_length = next(each for each in lengths if request in each)
        same_length.remove(request)
        if not same_length:
            lengths.remove(same_length)

    def head(self) -> EngineRequest | None:
        """The request whose image starts next; None for an empty queue."""
        return next((lengths[0][0] for lengths in self._by_priority if lengths), None)

    def advance(self) -> None:
        """Give the turn to the next length, and drop the head once all of its images have started."""
        lengths = next(lengths for lengths in self._by_priority if lengths)
        same_length = lengths.popleft()
        if not same_length[0].queued:
            same_length.popleft()
        if same_length:
            lengths.append(same_length)


def _length_class(request: EngineRequest) -> int:
    return len(request.images).bit_length()
