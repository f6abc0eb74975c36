"""A request on its way through the engine."""

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple

from models.backends.answer import Answer, Floats, Images
from models.backends.trace import Trace
from service.engine.terms import Rung, Terms
from service.registry import ServedModel


class Priority(IntEnum):
    """Whose images are begun first; what is begun is never put back."""

    high = 0
    normal = 1
    low = 2


class End(Enum):
    """How a job ends."""

    answered = "answered"
    cancelled = "cancelled"
    expired = "expired"
    failed = "failed"
    stopped = "stopped"


class Phases(NamedTuple):
    """Where the time of a request went, in seconds; what comes after each other adds up.

    Attributes:
        decode: from the body to pixels.
        queue: from then until the first image is begun.
        stem: from then until that is in flight.
        solve: from then until the last image has reached t = 1.
        head: from then until that is answered.
    """

    decode: float
    queue: float
    stem: float
    solve: float
    head: float


class Job:
    """The images of one request, their terms, and as they come their answers.

    Args:
        model: that is asked.
        images: uint8 ``[rows, 28, 28]``, at least one.
        terms: on which they are solved.
        arrived: when the request did, by the scheduler's clock.
        decoded: when the images were there.
        priority: whose images are begun first.
        on_end: called once, by the thread of the scheduler.
        traced: whether to tell what each solve goes through.

    Attributes:
        begun: how many of its images have left the queue, in their order.
        begun_at: when the first did, by the scheduler's clock; None before.
        in_flight_at: when that was through the stem.
        solved_at: when the last of them had reached t = 1.
        answered_at: when that was through the head.
        end: how it ended; None while it goes on.
        answer: of its images; whole when it ended as answered.
        rungs: by what each of them is, or was, solved.
        degraded: whether that is looser than was asked, as the service was busy.
        traces: what the solve of each went through; None where that is not told, or there is no ODE.
    """

    def __init__(
        self,
        model: ServedModel,
        images: Images,
        terms: Terms,
        arrived: float,
        decoded: float,
        priority: Priority = Priority.normal,
        on_end: "Callable[[Job], None] | None" = None,
        *,
        traced: bool = False,
    ) -> None:
        rows = len(images)
        self.model = model
        self.images = images
        self.terms = terms
        self.arrived = arrived
        self.decoded = decoded
        self.priority = priority
        self.on_end = on_end
        self.begun = 0
        self.begun_at: float | None = None
        self.in_flight_at: float | None = None
        self.solved_at: float | None = None
        self.answered_at: float | None = None
        self.end: End | None = None
        self.answer = Answer.empty(rows, len(model.artifact.manifest.classes))
        self.rungs = [terms.rungs[0]] * rows
        self.degraded = [False] * rows
        traced = traced and terms.rungs[0].solver is not None
        self.traces = [Trace() if traced else None for _ in range(rows)]
        self._unanswered = rows

    @property
    def probabilities(self) -> Floats:
        """Of the classes, for each of its images, at the model's temperature."""
        return self.answer.probabilities(self.model.artifact.manifest.temperature)

    @property
    def deadline(self) -> float | None:
        """When it must be answered, by the scheduler's clock."""
        return None if self.terms.seconds is None else self.arrived + self.terms.seconds

    @property
    def expected_seconds(self) -> float:
        """What all of its images are expected to take, each by the setting that is asked."""
        return len(self.images) * self.model.costs.answer(1, self.terms.rungs[0].nfe)

    @property
    def waiting(self) -> int:
        """How many of its images are still in the queue."""
        return 0 if self.end else len(self.images) - self.begun

    @property
    def phases(self) -> Phases | None:
        """Where its time went; None where it was not answered."""
        begun, in_flight, solved, answered = self.begun_at, self.in_flight_at, self.solved_at, self.answered_at
        if begun is None or in_flight is None or solved is None or answered is None:
            return None
        return Phases(
            self.decoded - self.arrived, begun - self.decoded, in_flight - begun, solved - in_flight, answered - solved
        )

    def begin(self, rung: Rung, *, degraded: bool, now: float) -> int:
        """Take the next image out of the queue, to be solved by a setting.

        Returns:
            Its number.
        """
        row = self.begun
        self.begun += 1
        self.begun_at = now if self.begun_at is None else self.begun_at
        self.rungs[row], self.degraded[row] = rung, degraded
        return row

    def settle(self, row: int, answer: Answer, place: int) -> None:
        """Take the answer to an image; with that to the last, the job is answered."""
        self.answer.put(row, answer, place)
        self._unanswered -= 1
        if not self._unanswered:
            self.end = End.answered
