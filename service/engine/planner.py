"""The plan of an image: which candidate solves it, whether it may be solved again, and whether it can be in time."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import dropwhile
from weakref import WeakKeyDictionary

from models.solvers.solve import Outcome
from service.engine.admission import Admission
from service.engine.batch import Batch, BatchRow
from service.engine.candidate import Candidate
from service.engine.costs import Pace
from service.engine.model import ServedModel
from service.engine.quantile import Quantile
from service.engine.request import EngineRequest
from service.engine.tuning import FIRST_SPREAD, LARGEST_SPREAD, RESERVE, SPREAD


class Batches:
    """The batches of a scheduler, and those that have turns.

    Attributes:
        active: the batches with something to do, in the order of their turns, without the one whose turn it is.
    """

    def __init__(self) -> None:
        self.active: deque[Batch] = deque()
        self._by_model: WeakKeyDictionary[ServedModel, dict[tuple[str | None, int], Batch]] = WeakKeyDictionary()

    def __iter__(self) -> Iterator[Batch]:
        for batches in [*self._by_model.values()]:
            yield from [*batches.values()]

    def home(self, request: EngineRequest) -> Batch:
        """The batch in whose queue a request waits: the batch of its first candidate."""
        return self.of(request.model, request.plan.candidates[0])

    def of(self, model: ServedModel, candidate: Candidate) -> Batch:
        """The batch of a model for a candidate; it exists for as long as anything refers to the model.

        Images keep their places until their solve ends. So long solves get batches of their own: otherwise they would
        take all places after a while, and short solves would wait for them.
        """
        batches = self._by_model.get(model)
        if batches is None:
            batches = self._by_model[model] = {}
        if candidate.batch not in batches:
            batches[candidate.batch] = Batch(model, candidate.method)
        return batches[candidate.batch]

    def activate(self, batch: Batch) -> None:
        """Give a batch turns, unless it has turns already."""
        if batch not in self.active:
            self.active.append(batch)

    def seconds_of_others(self, batch: Batch) -> float:
        """Estimated seconds of one iteration of every other active batch."""
        return sum(other.seconds for other in self.active if other is not batch)


class Planner:
    """Plans images by the time that is left and by the load.

    Args:
        batches: the batches of the scheduler.
        admission: knows the work in the queue.
        pace: the pace of the scheduler.

    Attributes:
        spread: the ratio of the measured to the estimated time of a solve that a deadline leaves time for.
    """

    def __init__(self, batches: Batches, admission: Admission, pace: Pace) -> None:
        self.spread = Quantile(SPREAD, FIRST_SPREAD, LARGEST_SPREAD)
        self._batches = batches
        self._admission = admission
        self._pace = pace

    def candidate(self, request: EngineRequest, home: Batch, now: float) -> Candidate:
        """Choose the candidate for the next image of a request: by the fullness of the queue and by the time left."""
        plan = request.plan
        candidate = plan.candidates[0]
        if len(plan.candidates) == 1 and not plan.by_deadline:
            return candidate
        if not plan.by_deadline and self._admission.rows > request.queued:  # other requests wait behind this one
            candidate = plan.at_fullness(self._admission.fullness(request.demand))
        if request.deadline is None:
            return candidate
        return self._in_time(request, home, dropwhile(lambda each: each is not candidate, plan.candidates), now)

    def _in_time(self, request: EngineRequest, home: Batch, candidates: Iterable[Candidate], now: float) -> Candidate:
        """Choose the first candidate that is expected to answer a request in time; the last one if none is.

        The images that wait must meet their deadlines too. So in the time left, they must all fit after this request,
        solved by the same candidate. A long queue therefore makes every solve looser.
        """
        assert request.deadline is not None  # noqa: S101 (the caller has checked this)
        left = request.deadline - RESERVE - now
        waiting = min((len(home.queue) - 1) * request.queued, self._admission.rows - request.queued)
        for candidate in candidates:
            expected = self._expected(request, candidate)
            others = waiting * self._pace.value * request.model.costs.answer(1, candidate.nfe)
            if self.spread.value * expected + others <= left:
                break
        request.promised = expected, now
        return candidate

    def least_wait(self, request: EngineRequest, home: Batch) -> float:
        """The least seconds that a request is expected to wait behind those of its caller and size that are due first.

        This is half of the estimate. A request that is refused in error is lost, and one that is let in in error is
        refused once its turn comes.
        """
        return self._pace.value * home.queue.seconds_ahead(request) / 2

    def is_hopeless(self, request: EngineRequest, now: float, ahead: int = 0) -> bool:
        """Whether a request cannot meet its deadline even with one step of its loosest candidate for each image.

        Args:
            request: the request.
            now: the time.
            ahead: the number of images that take part in the same iteration.
        """
        if request.deadline is None:
            return False
        candidate = request.plan.candidates[-1]
        batch = self._batches.of(request.model, candidate)
        waves, rest = divmod(request.queued, batch.capacity)
        least = batch.evaluations_to_start + batch.evaluations_per_step
        together = min(ahead + rest, batch.capacity)
        seconds = waves * batch.costs.answer(batch.capacity, least) + batch.costs.answer(together, least)
        return now + seconds > request.deadline

    def _expected(self, request: EngineRequest, candidate: Candidate) -> float:
        """Estimated seconds until all queued images of a request are answered, each solved by a candidate."""
        batch = self._batches.of(request.model, candidate)
        return math.ceil(request.queued / batch.capacity) * self._wave(batch, candidate, request.queued)

    def _wave(self, batch: Batch, candidate: Candidate, rows: int) -> float:
        """Estimated seconds until a number of images that join a batch now, as far as they fit, are answered."""
        together = min(rows + len(batch.members), batch.capacity)
        attempts = max(1.0, (candidate.nfe_p90 - batch.evaluations_to_start) / batch.evaluations_per_step)
        return batch.costs.answer(together, candidate.nfe_p90) + attempts * self._batches.seconds_of_others(batch)

    def may_escalate(self, row: BatchRow, together: int, now: float) -> Outcome | None:
        """Why an image may not be solved again: its limit of evaluations or its deadline; None if it may.

        Args:
            row: the image, with its tighter candidate.
            together: how many images of the same iteration are to be solved again before it.
            now: the time.
        """
        if row.max_nfe is not None and row.max_nfe < row.candidate.least_evaluations:
            return Outcome.max_nfe
        if (deadline := row.request.deadline) is not None:
            batch = self._batches.of(row.request.model, row.candidate)
            waiting = len(batch.escalated) + together
            waves = 1 + (waiting + batch.guests) // batch.capacity
            if now + RESERVE + self.spread.value * waves * self._wave(batch, row.candidate, waiting + 1) > deadline:
                return Outcome.deadline
        return None

    def is_congested(self, request: EngineRequest, candidate: Candidate) -> bool:
        """Whether the images that wait to be solved again, by the candidate's next rung, would fill a batch.

        A request whose deadline chooses the candidate does not wait for them: without the time to solve its images
        again, they are answered loosely.
        """
        if candidate.tighter is None or request.plan.by_deadline:
            return False
        batch = self._batches.of(request.model, candidate.tighter)
        return len(batch.escalated) >= batch.capacity
