"""The images that are solved by one method of one model at about one pace: those that wait, and those in flight."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from models.backends.flight import Flight
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.engine.request import EngineRequest, Priority

STEM_SECONDS, STEP_SECONDS = 2e-3, 1e-3
"""For how long the stem, and a step, of one lane may keep the others waiting; how many rows it may have in flight
follows from that. A stem comes but once for an image, a step again and again."""


class Row(NamedTuple):
    """An image in flight.

    Attributes:
        request: whose it is.
        number: which of its images.
        guest: whether it waited in the line of another lane.
    """

    request: EngineRequest
    number: int
    guest: bool


class Line:
    """Jobs whose images wait, by priority.

    Jobs of about the same length, to a power of two, are begun first come, first served; those of different lengths
    give an image in turn. So a long list delays a single image by a single image, and the wait of a request is bound by
    what waited before it came.
    """

    def __init__(self) -> None:
        self._queues: tuple[deque[deque[EngineRequest]], ...] = tuple(deque() for _ in Priority)

    def __len__(self) -> int:
        """The number of requests."""
        return sum(len(queue) for queues in self._queues for queue in queues)

    def __iter__(self) -> Iterator[EngineRequest]:
        for queues in self._queues:
            for queue in queues:
                yield from queue

    def append(self, request: EngineRequest) -> None:
        """Let a request wait behind those of its priority and length."""
        queues = self._queues[request.priority]
        for queue in queues:
            if _length(queue[0]) == _length(request):
                queue.append(request)
                return
        queues.append(deque([request]))

    def remove(self, request: EngineRequest) -> None:
        """Let a request that is in the line wait no more."""
        queues = self._queues[request.priority]
        queue = next(queue for queue in queues if request in queue)
        queue.remove(request)
        if not queue:
            queues.remove(queue)

    def head(self) -> EngineRequest | None:
        """The request whose turn it is; None where none waits."""
        return next((queues[0][0] for queues in self._queues if queues), None)

    def advance(self) -> None:
        """End the turn of the head, which goes away if none of its images waits any more."""
        queues = next(queues for queues in self._queues if queues)
        queue = queues.popleft()
        if not queue[0].queued:
            queue.popleft()
        if queue:
            queues.append(queue)


def _length(request: EngineRequest) -> int:
    return len(request.images).bit_length()


class Lane:
    """A flight, whose images are in it, and the line before it.

    A guest is an image that waited in another line, that of the setting it was asked at. Guests take no room from
    those that wait here, nor these from them.

    Args:
        model: of the lane, which is not kept: a lane does not outlive it (`service.engine.scheduler`).
        method: of the lane; None for a model without an ODE.

    Attributes:
        name: of the model.
        version: of the model.
        costs: of the model.
        line: the requests that wait.
        rows: the images in flight, by their places.
        capacity: the most rows of either kind in flight.
        seconds: what a turn of this lane takes, of late.
    """

    def __init__(self, model: ServedModel, method: str | None) -> None:
        tableau = None if method is None else METHODS[method]
        self.name = model.name
        self.version = model.version
        self.costs = model.costs
        self.evaluations_to_start = 0 if tableau is None else tableau.evaluations_to_start
        self.evaluations_per_step = 0 if tableau is None else tableau.evaluations_per_step
        self.capacity = model.costs.most_rows(self.evaluations_per_step, STEM_SECONDS, STEP_SECONDS)
        self.line = Line()
        self.rows: list[Row] = []
        self.seconds = model.costs.answer(1, self.evaluations_to_start + self.evaluations_per_step)
        self._backend = model.backend
        self._method = method
        self._made: Flight | None = None

    @property
    def _flight(self) -> Flight:
        """The flight, which is made when it is needed; that may fail, as any computation may."""
        if self._made is None:
            self._made = self._backend.flight(self._method, 2 * self.capacity)
        return self._made

    @property
    def active(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.rows or self.line)

    @property
    def traced(self) -> bool:
        """Whether any row in flight is, which takes time of its own."""
        return self._made is not None and self._made.traced

    def room(self, *, guest: bool) -> int:
        """How many more images of either kind may join."""
        return self.capacity - sum(row.guest == guest for row in self.rows)

    def join(self, rows: list[Row]) -> None:
        """Bring images into flight, at most as many as there is room for."""
        images = [row.request.images[row.number] for row in rows]
        solvers = [row.request.chosen[row.number].solver for row in rows]
        limits, traces = [row.request.plan.max_nfe for row in rows], [row.request.traces[row.number] for row in rows]
        self._flight.join(images, solvers, limits, traces)
        self.rows += rows

    def drop(self) -> None:
        """Drop the rows whose request has ended."""
        if places := [place for place, row in enumerate(self.rows) if row.request.end]:
            self._flight.drop(places)
            self._vacate(places)

    def hurry(self, until: float) -> None:
        """Let the next attempt be the last of each row whose deadline is earlier."""
        deadlines = ((place, row.request.deadline) for place, row in enumerate(self.rows))
        if late := [place for place, deadline in deadlines if deadline is not None and deadline < until]:
            self._flight.finish(late, Outcome.deadline)

    def attempt(self) -> list[int]:
        """Attempt a step; the places of the rows that have ended, in their order."""
        return self._flight.attempt()

    def answer(self, places: list[int]) -> list[EngineRequest]:
        """Answer the rows at some places, in ascending order, at least one.

        Returns:
            The requests that ended with them.
        """
        answer = self._flight.leave(places)
        ended = list[EngineRequest]()
        for at, place in enumerate(places):
            request, number, _ = self.rows[place]
            if not request.end:
                request.complete(number, answer, at)
                ended += [request] if request.end else []
        self._vacate(places)
        return ended

    def clear(self) -> list[Row]:
        """Give up what is in flight, which is no longer to be trusted; returns its rows."""
        rows, self.rows, self._made = self.rows, [], None
        return rows

    def _vacate(self, places: list[int]) -> None:
        """Move rows as the flight does."""
        for place in reversed(places):
            last = self.rows.pop()
            if place != len(self.rows):
                self.rows[place] = last
