"""The scheduler: which images are computed when.

The scheduler runs in iterations. In one, one batch drops the images whose request has ended, lets queued images join,
attempts a step for all of its images, and answers those whose solve has ended. The batches take turns.

The scheduler knows nothing of HTTP and threads, and its clock is an argument, so that a test can drive it iteration by
iteration.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from service.engine.admission import Admission
from service.engine.batch import Batch, BatchRow
from service.engine.candidate import Candidate
from service.engine.costs import Pace
from service.engine.deadlines import Deadlines
from service.engine.plan import Plan
from service.engine.planner import Batches, Planner
from service.engine.request import End, EngineRequest
from service.engine.tuning import (
    BATCH_SMOOTHING,
    DEADLINE_SHARE,
    LOOK_AHEAD,
    PATIENCE,
    RESERVE,
)

logger = logging.getLogger(__name__)


class Iteration(NamedTuple):
    """A finished iteration.

    Attributes:
        model: the name of the batch's model.
        version: the version of the model.
        rows: the number of images that attempted a step together.
    """

    model: str
    version: str
    rows: int


@dataclass
class Work:
    """The work of an iteration, while it goes on.

    Attributes:
        batch: the batch whose turn it is.
        started_at: when the iteration started.
        joining: the images that leave the queue of the batch, by the batch that they join.
        resuming: the images that are solved again in the batch and join it now.
        escalated_to: the batches in which images that left the batch wait to be solved again.
        stepped: the number of images that attempted a step.
        answered: the number of images that were answered.
        completed: the requests that were answered completely.
        traced: whether any image was traced, which takes extra time.
    """

    batch: Batch
    started_at: float
    joining: dict[Batch, list[BatchRow]] = field(default_factory=dict)
    resuming: list[BatchRow] = field(default_factory=list)
    escalated_to: list[Batch] = field(default_factory=list)
    stepped: int = 0
    answered: int = 0
    completed: list[EngineRequest] = field(default_factory=list)
    traced: bool = False


class Scheduler:
    """Owns the batches and decides which images are computed when.

    Args:
        admission: adds up the work in the queue; the scheduler reports when images leave, and the pace.
        clock: returns seconds.
        on_end: called once with each request that has ended.
    """

    def __init__(
        self, admission: Admission, clock: Callable[[], float], on_end: Callable[[EngineRequest], object]
    ) -> None:
        self._admission = admission
        self._clock = clock
        self._on_end = on_end
        self._batches = Batches()
        self._deadlines = Deadlines()
        self._waiting = OrderedDict[EngineRequest, None]()  # without a deadline and not started, in the order of `due`
        self._pace = Pace()
        self._planner = Planner(self._batches, admission, self._pace)
        self._busy_since: float | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._batches.active

    @property
    def rows(self) -> int:
        """The number of images in flight, with those that wait to be solved again."""
        return sum(len(batch.members) + len(batch.escalated) for batch in self._batches.active)

    def submit(self, request: EngineRequest) -> None:
        """Queue a request whose images have been admitted. A request that cannot meet its deadline ends at once."""
        batch = self._batches.home(request)
        if request.deadline is None:
            request.due = self._clock() + self._admission.seconds
            self._waiting[request] = None
        elif self._planner.is_hopeless(request, self._clock() + self._planner.least_wait(request, batch)):
            self.give_up(request, End.expired)
            return
        batch.queue.append(request)
        self._batches.activate(batch)
        self._deadlines.add(request)

    def end(self, request: EngineRequest, end: End) -> None:
        """End a request that is not answered. Its batches drop its images in flight before their next step."""
        if request.end:
            return
        if queued := request.queued:
            self._batches.home(request).queue.remove(request)
            self._leave(request, queued)
        request.end = end
        self._report_end(request)

    def give_up(self, request: EngineRequest, end: End) -> None:
        """End a request that is not in a queue, although it was admitted."""
        self._leave(request, request.queued)
        request.end = end
        self._on_end(request)

    def end_all(self, end: End) -> None:
        """End every request."""
        for batch in self._batches:
            for request in (*batch.queue, *(row.request for row in (*batch.members, *batch.escalated))):
                self.end(request, end)

    def iterate(self) -> Iteration | None:
        """Run one iteration of the next batch.

        Returns:
            The iteration; None if no batch has anything to do.
        """
        started_at = self._clock()
        for request in self._deadlines.passed(started_at):
            if request.answer_loosely():
                request.solved_at = request.answered_at = started_at
                self._report_end(request)
            else:
                self.end(request, End.expired)
        self._end_overdue(started_at)
        if not self._batches.active:
            return None
        work = Work(self._batches.active.popleft(), started_at)
        try:
            self._choose(work)
            self._run(work)
        except Exception:  # noqa: BLE001 (any failure ends the requests of this iteration, and no other request)
            self._fail(work)
        self._account(work)
        return Iteration(work.batch.name, work.batch.version, work.stepped)

    def _end_overdue(self, now: float) -> None:
        """End the requests that have waited for too long, while another of their priority or a higher one waits.

        Their answers would be late, so the engine spends the time on requests that can still be in time. After the
        first image of a request has started, the request is no longer overdue. A request with a deadline may wait
        until the deadline.
        """
        while self._waiting:
            request = next(iter(self._waiting))
            if now <= request.due or self._admission.is_alone(request.demand):
                return
            self.end(request, End.overdue)

    def _leave(self, request: EngineRequest, rows: int) -> None:
        """Record that the next images of a request leave the queue."""
        self._admission.leave(request.demand, rows, first=not request.started)
        self._waiting.pop(request, None)

    # First part of an iteration: choose the images that leave the queue, and the candidate and batch for each.

    def _choose(self, work: Work) -> None:
        """Take images that are solved again, and images out of the batch's queue, while there is room for them.

        An image whose batch is full does not hold up the images behind it that join another batch. A batch in which
        many images wait to be solved again counts as full for the images that may have to wait there too. Otherwise
        these images would leave the queue faster than they are answered, and nothing would limit their number.
        """
        batch, room = work.batch, dict[Batch, int]()
        batch.drop_ended()
        if not batch.queue and not batch.escalated:
            return
        longest = self._longest_step(batch, work.started_at)
        work.resuming = batch.take_escalated(longest)
        stems = batch.costs.stems_within(longest)
        full, passed = set[Plan](), 0
        for request in batch.queue.in_turn():
            plan = request.plan
            ahead = len(batch.members) + len(work.resuming) + len(work.joining.get(batch, ()))
            if self._planner.is_hopeless(request, work.started_at, ahead):
                self.end(request, End.expired)
                continue
            if plan not in full:
                candidate = self._planner.candidate(request, batch, work.started_at)
                target = batch if candidate is plan.candidates[0] else self._batches.of(request.model, candidate)
                if target not in room:
                    room[target] = target.room(longest, guest=target is not batch)
                if room[target] > 0 and not self._planner.is_congested(request, candidate):
                    self._start(work, request, candidate, target)
                    room[target] -= 1
                    stems -= 1
                    if not stems:
                        return
                    continue
                if not plan.by_deadline:  # with a deadline, the next request of the same plan may join another batch
                    full.add(plan)
            passed += 1
            if passed == LOOK_AHEAD or len(full) == len(batch.queue.plans):
                return

    def _start(self, work: Work, request: EngineRequest, candidate: Candidate, target: Batch) -> None:
        """Take the next image of a request out of the queue of the batch, to join a batch by a candidate."""
        degraded = not request.plan.by_deadline and candidate is not request.plan.candidates[0]
        self._leave(request, 1)
        number = request.start_next(candidate, degraded=degraded, now=work.started_at)
        guest = target is not work.batch
        work.joining.setdefault(target, []).append(BatchRow(request, number, candidate, guest))
        work.batch.queue.started(request)

    def _longest_step(self, batch: Batch, now: float) -> float:
        """The longest time that a step of a batch, or its new stems, may take.

        Images in other batches wait at most for some steps of their own. The default method of the model limits how
        short the step of another batch may count: otherwise a fast model would leave no room for the images of a slow
        model. A deadline limits the time too, but not below some steps: a deadline that is about to pass would
        otherwise make the batches small in a burst, and the next deadlines would pass too.
        """
        longest = math.inf
        if self._batches.active:
            longest = PATIENCE * max(batch.shortest_step, min(other.step_seconds for other in self._batches.active))
        if (deadline := self._deadlines.earliest) is not None:
            longest = min(longest, max(PATIENCE * batch.shortest_step, DEADLINE_SHARE * (deadline - now)))
        return longest

    # Second part of an iteration: run the computation.

    def _run(self, work: Work) -> None:
        """Let the chosen images join, attempt a step for all images of the batch, and answer those that are solved.

        An image whose margin is too small is not answered. It goes on in the batch of its tighter candidate.
        """
        batch = work.batch
        if work.resuming:
            batch.join(work.resuming)
        for target, members in work.joining.items():
            target.join(members)
            now = self._clock()
            for member in members:
                member.request.in_flight_at = member.request.in_flight_at or now
        work.stepped, work.traced = len(batch.members), batch.traced
        if not work.stepped:
            return
        if self._deadlines:
            two_iterations = 2 * (batch.seconds + self._batches.seconds_of_others(batch))
            batch.hurry(work.started_at + RESERVE + self._planner.spread.value * two_iterations)
        if places := batch.attempt():
            solved_at = self._clock()
            work.answered, work.completed, escalated = batch.answer(
                places, partial(self._planner.may_escalate, now=solved_at)
            )
            answered_at = self._clock()
            for request in work.completed:
                request.solved_at, request.answered_at = solved_at, answered_at
                if request.promised is not None:
                    expected, since = request.promised
                    self._planner.spread.add((answered_at - since) / expected)
            for row in escalated:
                target = self._batches.of(row.request.model, row.candidate)
                target.escalate(row)
                work.escalated_to.append(target)

    def _fail(self, work: Work) -> None:
        """End the requests of a failed iteration: those of the batch, and those of the batches that images joined."""
        logger.exception("the computation of %s failed", work.batch.name)
        members = [member for batch in {work.batch, *work.joining} for member in batch.discard()]
        members += [member for joining in (work.resuming, *work.joining.values()) for member in joining]
        for member in members:
            self.end(member.request, End.failed)

    # Third part of an iteration: account for it.

    def _account(self, work: Work) -> None:
        """Correct the estimates by the time of the iteration, report the requests that ended, and plan what follows."""
        batch, seconds = work.batch, self._clock() - work.started_at
        joined = sum(map(len, work.joining.values()))
        if (joined or work.stepped) and not work.traced:
            batch.costs.correct(joined, work.stepped, batch.evaluations_per_step, seconds)
        batch.seconds += BATCH_SMOOTHING * (seconds - batch.seconds)
        expected = batch.costs.alone(joined, work.stepped, batch.evaluations_per_step, work.answered)
        self._pace.add(work.started_at + seconds - (self._busy_since or work.started_at), expected)
        self._admission.pace = self._pace.value
        for request in work.completed:
            self._report_end(request)
        for each in (batch, *work.joining, *work.escalated_to):
            if each.active:
                self._batches.activate(each)
        self._busy_since = work.started_at + seconds if self._batches.active else None

    def _report_end(self, request: EngineRequest) -> None:
        """Report that a request has ended."""
        self._deadlines.discard(request)
        self._on_end(request)
