"""A batch: images in flight that one method of one model solves in the same steps, and the queue before them."""

from typing import NamedTuple

from models.backends.flight import Flight
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.engine.queue import RequestQueue
from service.engine.request import EngineRequest, RowAnswers
from service.engine.tuning import PATIENCE


class BatchRow(NamedTuple):
    """An image in flight.

    Attributes:
        request: the request of the image.
        number: the number of the image within its request.
        guest: whether the image waited in the queue of another batch.
    """

    request: EngineRequest
    number: int
    guest: bool


class Batch:
    """A flight of images and their queue.

    A guest is an image that waited in the queue of another batch: the batch of the settings that its request asks for.
    Guests take no room from the images that wait here, and these take no room from guests.

    Args:
        model: the model. The batch does not keep the model alive; the scheduler drops the batch with the model.
        method: the method; None for a model without an ODE.

    Attributes:
        name: the name of the model.
        version: the version of the model.
        costs: the costs of the model.
        queue: the requests whose images wait.
        members: the images in flight, in the order of their places in the flight.
        capacity: the greatest number of guests in flight, and the greatest number of the batch's own images in flight.
        shortest_step: estimated seconds of a step of one image alone by the model's default method. A step of a full
            batch takes at most `PATIENCE` times as long.
        seconds: estimated seconds of an iteration.
    """

    def __init__(self, model: ServedModel, method: str | None) -> None:
        tableau = None if method is None else METHODS[method]
        self.name = model.name
        self.version = model.version
        self.costs = model.costs
        self.evaluations_to_start = 0 if tableau is None else tableau.evaluations_to_start
        self.evaluations_per_step = 0 if tableau is None else tableau.evaluations_per_step
        self.shortest_step = model.step_seconds
        self.capacity = model.costs.rows_within(PATIENCE * self.shortest_step, self.evaluations_per_step)
        self.queue = RequestQueue()
        self.members: list[BatchRow] = []
        self.seconds = model.costs.answer(1, self.evaluations_to_start + self.evaluations_per_step)
        self._backend = model.backend
        self._method = method
        self._temperature = model.artifact.manifest.temperature
        self._allocated: Flight | None = None

    @property
    def _flight(self) -> Flight:
        """The flight. It is allocated on first use, which may fail as any computation may."""
        if self._allocated is None:
            self._allocated = self._backend.flight(self._method, 2 * self.capacity)
        return self._allocated

    @property
    def active(self) -> bool:
        """Whether the batch has images in flight or in its queue."""
        return bool(self.members or self.queue)

    @property
    def traced(self) -> bool:
        """Whether any image in flight is traced. Tracing takes extra time."""
        return self._allocated is not None and self._allocated.traced

    @property
    def step_seconds(self) -> float:
        """Estimated seconds of a step of one image alone."""
        return self.costs.step(1, self.evaluations_per_step)

    def room(self, longest_step: float, *, guest: bool) -> int:
        """How many more guests, or how many more of the batch's own images, may join.

        Args:
            longest_step: how many seconds a step of these images may take. One image may always be in flight.
            guest: whether to count the room of the guests.
        """
        most = min(self.capacity, self.costs.rows_within(longest_step, self.evaluations_per_step))
        return most - sum(row.guest == guest for row in self.members)

    def join(self, members: list[BatchRow]) -> None:
        """Bring images into flight, at most as many as there is room for."""
        self._flight.join(
            [row.request.images[row.number] for row in members],
            [row.request.chosen[row.number].arguments for row in members],
            [row.request.plan.max_nfe for row in members],
            [row.request.traces[row.number] for row in members],
        )
        self.members += members

    def drop_ended(self) -> None:
        """Drop the images whose request has ended."""
        if places := [place for place, row in enumerate(self.members) if row.request.end]:
            self._flight.drop(places)
            self._remove(places)

    def hurry(self, until: float) -> None:
        """Make the next attempt the last one for each image whose deadline is earlier than a time."""
        deadlines = ((place, row.request.deadline) for place, row in enumerate(self.members))
        if late := [place for place, deadline in deadlines if deadline is not None and deadline < until]:
            self._flight.finish(late, Outcome.deadline)

    def attempt(self) -> list[int]:
        """Attempt a step for every image.

        Returns:
            The places of the images whose solve has ended, in ascending order.
        """
        return self._flight.attempt()

    def answer(self, places: list[int]) -> list[EngineRequest]:
        """Answer the images at some places.

        Args:
            places: in ascending order, at least one.

        Returns:
            The requests that are now answered completely.
        """
        answers = RowAnswers.of(self._flight.leave(places), self._temperature)
        completed = list[EngineRequest]()
        for index, place in enumerate(places):
            request, number, _ = self.members[place]
            if not request.end and request.complete(number, answers, index):
                completed.append(request)
        self._remove(places)
        return completed

    def discard(self) -> list[BatchRow]:
        """Give up the flight, which can no longer be trusted, and return its images."""
        members, self.members, self._allocated = self.members, [], None
        return members

    def _remove(self, places: list[int]) -> None:
        """Move the rows as the flight moves them: the last row fills each hole."""
        for place in reversed(places):
            last = self.members.pop()
            if place != len(self.members):
                self.members[place] = last
