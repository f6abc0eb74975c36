"""A batch: images in flight that one method of one model solves in the same steps, and the queue before them."""

from bisect import insort
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from models.backends.flight import Flight
from models.solvers.attempt import Array
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome
from service.engine.candidate import Candidate
from service.engine.model import ServedModel
from service.engine.queue import RequestQueue
from service.engine.request import EngineRequest, RowAnswers
from service.engine.tuning import PATIENCE


class BatchRow(NamedTuple):
    """An image in flight.

    Attributes:
        request: the request of the image.
        number: the number of the image within its request.
        candidate: solves the image.
        guest: whether the image waited in the queue of another batch, or was solved in another batch.
        start: the state at t = 0 of an image that is solved again; None for an image that comes from the queue.
        nfe: the evaluations of the earlier solves of the image.
    """

    request: EngineRequest
    number: int
    candidate: Candidate
    guest: bool
    start: Array | None = None
    nfe: int = 0

    @property
    def max_nfe(self) -> int | None:
        """The most evaluations that the image may still take; None without a limit."""
        limit = self.request.plan.max_nfe
        return None if limit is None else limit - self.nfe


MayEscalate = Callable[[BatchRow, int], Outcome | None]
"""Says why an image may not be solved again; None if it may. The number says how many images of the same iteration are
solved again before it."""


class Left(NamedTuple):
    """The images that have left a batch.

    Attributes:
        answered: the number of images that were answered.
        completed: the requests that are now answered completely.
        escalated: the images that are to be solved again, each with its tighter candidate.
    """

    answered: int
    completed: list[EngineRequest]
    escalated: list[BatchRow]


class Batch:
    """A flight of images and their queue.

    A guest is an image that waited in the queue of another batch: the batch of the settings that its request asks for.
    Guests take no room from the images that wait here, and these take no room from guests. An image that was solved
    more loosely, and is solved again here, is a guest that joins before all others.

    Args:
        model: the model. The batch does not keep the model alive; the scheduler drops the batch with the model.
        method: the method; None for a model without an ODE.

    Attributes:
        name: the name of the model.
        version: the version of the model.
        costs: the costs of the model.
        queue: the requests whose images wait.
        members: the images in flight, in the order of their places in the flight.
        escalated: the images that wait to be solved again here, by priority and then in the order of their arrival.
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
        self.escalated: list[BatchRow] = []
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
        """Whether the batch has images in flight, in its queue, or to be solved again."""
        return bool(self.members or self.queue or self.escalated)

    @property
    def traced(self) -> bool:
        """Whether any image in flight is traced. Tracing takes extra time."""
        return self._allocated is not None and self._allocated.traced

    @property
    def guests(self) -> int:
        """The number of guests in flight."""
        return sum(row.guest for row in self.members)

    @property
    def step_seconds(self) -> float:
        """Estimated seconds of a step of one image alone."""
        return self.costs.step(1, self.evaluations_per_step)

    def room(self, longest_step: float, *, guest: bool) -> int:
        """How many more guests from a queue, or how many more of the batch's own images, may join.

        Args:
            longest_step: how many seconds a step of these images may take. One image may always be in flight.
            guest: whether to count the room of the guests.
        """
        return self._free_places(longest_step, guest=guest) - (len(self.escalated) if guest else 0)

    def _free_places(self, longest_step: float, *, guest: bool) -> int:
        """The places that no image in flight takes. The arguments are those of `room`."""
        most = min(self.capacity, self.costs.rows_within(longest_step, self.evaluations_per_step))
        return most - sum(row.guest == guest for row in self.members)

    def join(self, members: list[BatchRow]) -> None:
        """Bring images into flight, at most as many as there is room for. All come from a queue, or none does."""
        columns = (
            [row.candidate.arguments for row in members],
            [row.max_nfe for row in members],
            [row.request.traces[row.number] for row in members],
        )
        keep = any(row.candidate.tighter for row in members)
        starts = [row.start for row in members if row.start is not None]
        if starts:
            self._flight.resume(starts, *columns, keep=keep)
        else:
            images = [row.request.images[row.number] for row in members]
            self._flight.join(images, *columns, keep=keep)
        self.members += members

    def escalate(self, row: BatchRow) -> None:
        """Let an image wait to be solved again."""
        insort(self.escalated, row, key=lambda each: each.request.demand.priority)

    def take_escalated(self, longest_step: float) -> list[BatchRow]:
        """Take the images that are solved again, while there is room. The argument is that of `room`."""
        count = max(0, self._free_places(longest_step, guest=True))
        taken, self.escalated = self.escalated[:count], self.escalated[count:]
        return taken

    def drop_ended(self) -> None:
        """Drop the images whose request has ended."""
        if self.escalated:
            self.escalated = [row for row in self.escalated if not row.request.end]
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

    def answer(self, places: list[int], may_escalate: MayEscalate) -> Left:
        """Answer the images at some places, except those that are to be solved again.

        Args:
            places: in ascending order, at least one.
            may_escalate: decides about each image with a small margin.
        """
        rows, answer = [self.members[place] for place in places], self._flight.answer(places)
        if any(row.nfe for row in rows):
            answer = answer._replace(nfe=answer.nfe + np.array([row.nfe for row in rows]))
        answers = RowAnswers.of(answer, self._temperature)
        escalated = self._escalated(places, answers, may_escalate)
        self._flight.drop(places)
        self._remove(places)
        completed = list[EngineRequest]()  # only now, because nothing that may fail comes after it
        for index, row in enumerate(rows):
            if index not in escalated and not row.request.end and row.request.complete(row.number, answers, index):
                completed.append(row.request)
        for index, row in escalated.items():
            row.request.escalate(row.number, row.candidate, answers, index)
        return Left(len(places) - len(escalated), completed, [*escalated.values()])

    def _escalated(self, places: list[int], answers: RowAnswers, may_escalate: MayEscalate) -> dict[int, BatchRow]:
        """The images that are to be solved again, by their index in the answers.

        The outcome of an image with a small margin that may not be solved again says why.
        """
        thresholds = [self.members[place].candidate.threshold for place in places]
        nfe, outcome = answers.answer.nfe, answers.answer.outcome
        escalated = dict[int, BatchRow]()
        for index in np.flatnonzero(~(answers.margins >= thresholds)):  # a margin that is not a number is small
            request, number, candidate, *_ = self.members[places[index]]
            if candidate.tighter is None or request.end:
                continue
            (start,) = self._flight.starts([places[index]])
            row = BatchRow(request, number, candidate.tighter, guest=True, start=start, nfe=int(nfe[index]))
            if (reason := may_escalate(row, len(escalated))) is None:
                escalated[int(index)] = row
            elif outcome[index] == Outcome.converged:
                outcome[index] = reason
        return escalated

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
