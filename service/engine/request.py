"""A request on its way through the engine."""

import math
from collections.abc import Sequence
from enum import Enum, IntEnum
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, Self

import numpy as np

from models.backends.answer import Answer, Floats, Images
from models.backends.trace import Trace
from models.solvers.solve import Outcome
from service.engine.candidate import Candidate
from service.engine.model import ServedModel
from service.engine.plan import Plan

NANOSECONDS = 1e9
"""Nanoseconds in a second. Expected work is counted in whole nanoseconds, so that sums are exact."""


class Priority(IntEnum):
    """Decides which queued images start first. An image that has started never returns to the queue."""

    high = 0
    normal = 1
    low = 2


class Demand(NamedTuple):
    """The work that a request adds to the queue.

    Attributes:
        caller: who asks: the name of an API key, or a network address. Callers take turns.
        priority: decides which queued images start first.
        rows: the number of images.
        image_work: the expected nanoseconds of an image alone: a whole number, so that sums are exact; at least 1.
    """

    caller: str
    priority: Priority
    rows: int
    image_work: int

    @classmethod
    def of(cls, model: ServedModel, plan: Plan, rows: int, priority: Priority, caller: str) -> Self:
        """The work of a number of images that a model solves by a plan."""
        return cls(caller, priority, rows, max(1, round(NANOSECONDS * model.costs.answer(1, plan.expected.nfe))))

    @property
    def work(self) -> int:
        """The expected nanoseconds of all images, each solved alone."""
        return self.rows * self.image_work

    @property
    def seconds(self) -> float:
        """Estimated seconds for all images, each solved alone."""
        return self.work / NANOSECONDS

    @property
    def size(self) -> int:
        """The class of the work of all images, to a power of two. The requests of a caller take turns by their size."""
        return self.work.bit_length()


class End(Enum):
    """How a request ends.

    An expired request could not meet its deadline. An overdue request has no deadline, but other work has delayed it
    for longer than the queue promises, before its first image could start.
    """

    answered = "answered"
    cancelled = "cancelled"
    expired = "expired"
    failed = "failed"
    overdue = "overdue"
    stopped = "stopped"


class Phases(NamedTuple):
    """Where the time of a request went, in seconds. The phases follow one another without gaps.

    Attributes:
        decode: from the arrival of the body to the pixels.
        queue: from the pixels until the first image leaves the queue.
        stem: from there until the first image has passed the stem.
        solve: from there until the last image has reached t = 1.
        head: from there until the last image has passed the head.
    """

    decode: float
    queue: float
    stem: float
    solve: float
    head: float


class RowAnswers(NamedTuple):
    """The answers to images of one model.

    Attributes:
        answer: the answers.
        probabilities: the probabilities of the classes for each image, ``[rows, classes]``.
        margins: the difference between the two greatest logits of each image, ``[rows]``.
    """

    answer: Answer
    probabilities: Floats
    margins: Floats

    @classmethod
    def of(cls, answer: Answer, temperature: float) -> Self:
        """Compute the columns for all answers at once, because many small NumPy calls take long."""
        return cls(answer, answer.probabilities(temperature), answer.margins)

    @classmethod
    def collect(cls, rows: Sequence[tuple[Self, int]]) -> Self:
        """The answers to some images, in their order.

        Args:
            rows: for each image, the answers to the images that left their batch together, and the image's row there.
        """
        if len(rows) == 1:
            ((answer, probabilities, margins), row) = rows[0]
            place = slice(row, row + 1)
            return cls(Answer._make(column[place] for column in answer), probabilities[place], margins[place])
        parts = {id(part): part for part, _ in rows}
        sizes = [len(part.probabilities) for part in parts.values()]
        first = dict(zip(parts, accumulate(sizes, initial=0), strict=False))
        index = [first[id(part)] + row for part, row in rows]
        columns = zip(*(part.answer for part in parts.values()), strict=True)
        answer = Answer._make(np.concatenate(column)[index] for column in columns)
        probabilities, margins = (
            np.concatenate(column)[index] for column in zip(*(part[1:] for part in parts.values()), strict=True)
        )
        return cls(answer, probabilities, margins)


class EngineRequest:
    """The images of one request, the plan for them, and their answers as they become available.

    Args:
        model: the model that answers.
        images: uint8 ``[rows, 28, 28]``, at least one.
        plan: how the images may be solved.
        arrived_at: when the request arrived, by the scheduler's clock.
        decoded_at: when the images were decoded.
        priority: decides which queued images start first.
        caller: who asks: the name of an API key, or a network address.
        deadline_from: the time from which a deadline counts.  Default: the arrival.
        traced: whether to record the steps of each solve.

    Attributes:
        demand: the work that the request adds to the queue.
        started: how many images have left the queue. They leave in their order.
        started_at: when the first image left the queue, by the scheduler's clock; None before.
        in_flight_at: when the first image had passed the stem.
        solved_at: when the last image had reached t = 1.
        answered_at: when the last image had passed the head.
        end: how the request ended; None while it goes on.
        deadline: when the request must be answered, by the scheduler's clock; None without a deadline.
        due: the deadline. Without a deadline, it is the end of `queue_seconds`, which start when the request is queued.
            Among the requests of one caller and size, the request with the earliest `due` starts first.
        promised: the time from the choice of a candidate to the answer that was expected, and the time of the choice;
            None unless the deadline decided about the candidate.
        chosen: for each image, the candidate by which it is or was solved; the last one if it was solved again.
        escalated: for each image, whether it is or was solved again because its margin was small.
        degraded: for each image, whether the scheduler chose a looser candidate because the service was busy.
        traces: for each image, the steps of the solve that gives its answer; None without tracing and for a model
            without an ODE.
        looser_traces: for each traced image, the steps of its solves before this one.
    """

    def __init__(
        self,
        model: ServedModel,
        images: Images,
        plan: Plan,
        arrived_at: float,
        decoded_at: float,
        priority: Priority = Priority.normal,
        caller: str = "",
        deadline_from: float | None = None,
        *,
        traced: bool = False,
    ) -> None:
        rows = len(images)
        self.demand = Demand.of(model, plan, rows, priority, caller)
        self.model = model
        self.images = images
        self.plan = plan
        self.arrived_at = arrived_at
        self.decoded_at = decoded_at
        self.started = 0
        self.started_at: float | None = None
        self.in_flight_at: float | None = None
        self.solved_at: float | None = None
        self.answered_at: float | None = None
        self.end: End | None = None
        counted_from = arrived_at if deadline_from is None else deadline_from
        self.deadline = None if plan.seconds is None else counted_from + plan.seconds
        self.due = math.inf if self.deadline is None else self.deadline
        self.promised: tuple[float, float] | None = None
        self.chosen = [plan.candidates[0]] * rows
        self.escalated = [False] * rows
        self.degraded = [False] * rows
        traced = traced and plan.candidates[0].solver is not None
        self.traces = [Trace() if traced else None for _ in range(rows)]
        self.looser_traces: list[list[Trace]] = [[] for _ in range(rows)]
        self._answers: list[tuple[RowAnswers, int] | None] = [None] * rows
        self._loose: dict[int, tuple[tuple[RowAnswers, int], Candidate, bool]] = {}
        self._unanswered = rows

    @property
    def answer(self) -> Answer:
        """The answers to the images, in their order. The request must have ended as answered."""
        return self._collected.answer

    @property
    def probabilities(self) -> Floats:
        """The probabilities of the classes for each image, ``[rows, classes]``, at the model's temperature."""
        return self._collected.probabilities

    @property
    def margins(self) -> Floats:
        """The difference between the two greatest logits of each image, ``[rows]``."""
        return self._collected.margins

    @cached_property
    def _collected(self) -> RowAnswers:
        """The answers to all images, collected when they are first read: not in the thread that computes."""
        return RowAnswers.collect([answer for answer in self._answers if answer is not None])

    @property
    def queued(self) -> int:
        """How many images are still in the queue."""
        return 0 if self.end else len(self.images) - self.started

    @property
    def phases(self) -> Phases | None:
        """Where the time went; None unless the request is answered."""
        started, in_flight, solved, answered = self.started_at, self.in_flight_at, self.solved_at, self.answered_at
        if started is None or in_flight is None or solved is None or answered is None:
            return None
        return Phases(
            decode=self.decoded_at - self.arrived_at,
            queue=started - self.decoded_at,
            stem=in_flight - started,
            solve=solved - in_flight,
            head=answered - solved,
        )

    def start_next(self, candidate: Candidate, *, degraded: bool, now: float) -> int:
        """Take the next image out of the queue, to be solved by a candidate.

        Returns:
            The row of the image.
        """
        row = self.started
        self.started += 1
        self.started_at = now if self.started_at is None else self.started_at
        self.chosen[row], self.degraded[row] = candidate, degraded
        return row

    def escalate(self, row: int, candidate: Candidate, answers: RowAnswers, place: int) -> None:
        """Record that an image, which has been solved, is solved again by a tighter candidate.

        Args:
            row: the row of the image.
            candidate: the tighter candidate.
            answers: the answers to the images that were solved together.
            place: the row of `answers` with the loose answer to the image.
        """
        if self.deadline is not None and self.plan.may_degrade:
            self._loose[row] = (answers, place), self.chosen[row], self.escalated[row]
        self.chosen[row], self.escalated[row] = candidate, True
        if (trace := self.traces[row]) is not None:
            self.looser_traces[row].append(trace)
            self.traces[row] = Trace()

    def answer_loosely(self) -> bool:
        """Give each image that is being solved again its loose answer, if this answers the request and is allowed.

        Returns:
            Whether the request has ended with these answers.
        """
        missing = [row for row, answer in enumerate(self._answers) if answer is None]
        if self.end or not self._loose.keys() >= {*missing}:
            return False
        for row in missing:
            (answers, place), self.chosen[row], self.escalated[row] = self._loose[row]
            answers.answer.outcome[place] = Outcome.deadline
            self._answers[row], self.degraded[row] = (answers, place), True
            if self.looser_traces[row]:
                self.traces[row] = self.looser_traces[row].pop()
        self.end = End.answered
        return True

    def complete(self, row: int, answers: RowAnswers, place: int) -> bool:
        """Store the answer to an image; the answer to the last image ends the request as answered.

        Args:
            row: the row of the image.
            answers: the answers to the images that left their batch together.
            place: the row of `answers` that belongs to the image.

        Returns:
            Whether the request has ended with this answer.
        """
        self._answers[row] = answers, place
        self._unanswered -= 1
        if self._unanswered:
            return False
        self.end = End.answered
        return True
