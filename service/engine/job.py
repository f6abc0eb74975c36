"""A request on its way through the engine."""

from collections.abc import Callable
from enum import Enum, IntEnum

from models.backends.answer import Answer, Images
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


class Job:
    """The images of one request, their terms, and as they come their answers.

    Args:
        model: that is asked.
        images: uint8 ``[rows, 28, 28]``, at least one.
        terms: on which they are solved.
        arrived: when the request did, by the scheduler's clock.
        priority: whose images are begun first.
        on_end: called once, by the thread of the scheduler.

    Attributes:
        begun: how many of its images have left the queue, in their order.
        begun_at: when the first did, by the scheduler's clock; None before.
        end: how it ended; None while it goes on.
        answer: of its images; whole when it ended as answered.
        rungs: by what each of them is, or was, solved.
        degraded: whether that is looser than was asked, as the service was busy.
    """

    def __init__(
        self,
        model: ServedModel,
        images: Images,
        terms: Terms,
        arrived: float,
        priority: Priority = Priority.normal,
        on_end: "Callable[[Job], None] | None" = None,
    ) -> None:
        rows = len(images)
        self.model = model
        self.images = images
        self.terms = terms
        self.arrived = arrived
        self.priority = priority
        self.on_end = on_end
        self.begun = 0
        self.begun_at: float | None = None
        self.end: End | None = None
        self.answer = Answer.empty(rows, len(model.artifact.manifest.classes))
        self.rungs = [terms.rungs[0]] * rows
        self.degraded = [False] * rows
        self._unanswered = rows

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
