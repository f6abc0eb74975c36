"""Which images are computed when: the in-flight batch, between two steps of which rows leave and join.

Knows nothing of HTTP, of threads, or of the clock but what it is told; a test drives it turn by turn.
"""

import heapq
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from itertools import count
from typing import NamedTuple, Self
from weakref import WeakKeyDictionary

from service.engine.admission import Admission
from service.engine.job import End, Job
from service.engine.lane import Lane, Row
from service.engine.terms import Rung
from service.registry import ServedModel

BROWN_OUT_FROM, BROWN_OUT_TO = 0.05, 0.5
"""The fullness of the queue from which images are solved more loosely, and at which as loosely as they may be."""

SAFETY = 1.5
"""How much longer than predicted a solve is taken to be, where there is a deadline."""

RESERVE = 5e-4
"""Seconds before a deadline by which to be done: the answer has yet to be written and sent."""

SMOOTHING = 0.1
"""How much the newest turn weighs in what a lane's turn is said to take."""

MEMORY = 0.98
"""How much of what is known of the seconds of a row is kept after another."""

LEAST_ANSWERED = 0.1
"""Of late, below which nothing is learnt of the seconds of a row: only long solves are under way."""

logger = logging.getLogger(__name__)


@dataclass
class Counts:
    """What was done since the start.

    Attributes:
        jobs: that ended, by how.
        begun: images that left the queue.
        degraded: of them, those that are solved more loosely than was asked.
        evaluations: of f, for one image each.
        turns: of a lane.
    """

    jobs: Counter[End] = field(default_factory=lambda: Counter(dict.fromkeys(End, 0)))
    begun: int = 0
    degraded: int = 0
    evaluations: int = 0
    turns: int = 0

    @classmethod
    def sum(cls, counts: list[Self]) -> Self:
        """What several schedulers have done."""
        jobs = sum((one.jobs for one in counts), Counter[End]())
        numbers = [each.name for each in fields(cls) if each.name != "jobs"]
        return cls(jobs, **{name: sum(getattr(one, name) for one in counts) for name in numbers})


class Turn(NamedTuple):
    """What a turn was about.

    Attributes:
        model: the name of the lane's.
        version: of the model.
        rows: that attempted a step together.
    """

    model: str
    version: str
    rows: int


class Scheduler:
    """The lanes and what goes on in them.

    Args:
        admission: which is told when images leave the queue.
        clock: seconds.

    Attributes:
        counts: what was done since the start.
    """

    def __init__(self, admission: Admission, clock: Callable[[], float]) -> None:
        self.counts = Counts()
        self._admission = admission
        self._clock = clock
        self._lanes: WeakKeyDictionary[ServedModel, dict[tuple[str | None, int], Lane]] = WeakKeyDictionary()
        self._active: deque[Lane] = deque()
        self._deadlines = Deadlines()
        self._busy, self._answered = 0.0, 0.0

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._active

    @property
    def rows(self) -> int:
        """The images in flight."""
        return sum(len(lane.rows) for lane in self._active)

    def submit(self, job: Job) -> None:
        """Take in a job whose images have been admitted."""
        if not self._answered:  # nothing is known yet but what the model is expected to take
            self._learn_pace(job.model.expected_seconds, 1)
        lane = self._home(job)
        lane.line.append(job)
        self._activate(lane)
        self._deadlines.add(job)

    def end(self, job: Job, end: End) -> None:
        """End a job before it is answered; its rows in flight are dropped before the next step of their lane."""
        if job.end:
            return
        if waiting := job.waiting:
            self._home(job).line.remove(job)
            self._admission.leave(waiting, job.priority)
        job.end = end
        self._tell(job)

    def give_up(self, job: Job) -> None:
        """End a job as failed that could not be submitted."""
        self._admission.leave(job.waiting, job.priority)
        job.end = End.failed
        self._tell(job)

    def end_all(self, end: End) -> None:
        """End every job."""
        for lane in [lane for lanes in self._lanes.values() for lane in lanes.values()]:
            for job in (*lane.line, *(row.job for row in lane.rows)):
                self.end(job, end)

    def turn(self) -> Turn | None:
        """Give the next lane its turn: rows leave, rows join, and all of them attempt a step.

        Returns:
            What it was about; None where no lane has anything to do.
        """
        started = self._clock()
        for job in self._deadlines.passed(started):
            self.end(job, End.expired)
        if not self._active:
            return None
        lane = self._active.popleft()
        begun, joining = self.counts.begun, dict[Lane, list[Row]]()
        ended, stepped, answered, traced = list[Job](), 0, 0, False
        try:
            lane.drop()
            self._fill(lane, started, joining)
            stepped, traced = len(lane.rows), lane.traced
            ended = self._step(lane, started) if stepped else []
            answered = stepped - len(lane.rows)
        except Exception:  # noqa: BLE001 (whatever it is, it is logged, and no fault of the other lanes)
            self._fail(lane, joining)
        seconds, joined = self._clock() - started, self.counts.begun - begun
        if (joined or stepped) and not traced:
            lane.costs.correct(joined, stepped, lane.evaluations_per_step, seconds)
        lane.seconds += SMOOTHING * (seconds - lane.seconds)
        self._learn_pace(seconds, answered)
        for job in ended:
            self._tell(job)
        for each in (lane, *joining):
            if each.active:
                self._activate(each)
        return Turn(lane.name, lane.version, stepped)

    def _fill(self, lane: Lane, now: float, joining: dict[Lane, list[Row]]) -> None:
        """Begin images of the lane's line, each in the lane of its setting, while there is room.

        Args:
            lane: whose turn it is.
            now: when that began.
            joining: told which rows go where.
        """
        rooms: dict[Lane, int] = {}
        while job := lane.line.head():
            rung, degraded = self._choose(job, lane, now)
            target = self._lane(job.model, rung)
            guest = target is not lane
            if target not in rooms:
                rooms[target] = target.room(guest=guest)
            if not rooms[target]:
                break
            rooms[target] -= 1
            joining.setdefault(target, []).append(Row(job, job.begin(rung, degraded=degraded, now=now), guest))
            lane.line.advance()
            self._admission.leave(1, job.priority)
            self.counts.begun += 1
            self.counts.degraded += degraded
        for target, rows in joining.items():
            target.join(rows)
            self.counts.evaluations += target.evaluations_to_start * len(rows)
            joined = self._clock()
            for row in rows:
                row.job.in_flight_at = row.job.in_flight_at or joined

    def _step(self, lane: Lane, started: float) -> list[Job]:
        """Let every row of the lane attempt a step, and those that have ended leave; the jobs that ended with them."""
        if self._deadlines:
            lane.hurry(started + RESERVE + SAFETY * 2 * (lane.seconds + self._others(lane)))
        self.counts.turns += 1
        self.counts.evaluations += lane.evaluations_per_step * len(lane.rows)
        if not (places := lane.attempt()):
            return []
        solved = self._clock()
        ended = lane.answer(places)
        answered = self._clock()
        for job in ended:
            job.solved_at, job.answered_at = solved, answered
        return ended

    def _fail(self, lane: Lane, joining: dict[Lane, list[Row]]) -> None:
        """Give up all that a turn was about, which failed: the lane, and those that rows of it were to join."""
        logger.exception("the computation of %s failed", lane.name)
        rows = [row for each in {lane, *joining} for row in each.clear()]
        for row in (*rows, *(row for told in joining.values() for row in told)):
            self.end(row.job, End.failed)

    def _choose(self, job: Job, lane: Lane, now: float) -> tuple[Rung, bool]:
        """By which of its settings the next image of a job is solved, and whether that is for the queue's sake."""
        rungs = job.terms.rungs
        if job.terms.by_deadline and job.deadline is not None:
            left = job.deadline - RESERVE - now
            return next((rung for rung in rungs if SAFETY * self._expected(job, lane, rung) <= left), rungs[-1]), False
        fullness = self._admission.fullness(job.priority)
        alone = self._admission.waiting() == job.waiting  # a list that nobody waits behind may take its time
        if len(rungs) == 1 or alone or fullness <= BROWN_OUT_FROM:
            return rungs[0], False
        share = min(1.0, (fullness - BROWN_OUT_FROM) / (BROWN_OUT_TO - BROWN_OUT_FROM))
        most = rungs[0].nfe ** (1 - share) * rungs[-1].nfe ** share
        chosen = next((rung for rung in rungs if rung.nfe <= most), rungs[-1])
        return chosen, chosen is not rungs[0]

    def _expected(self, job: Job, home: Lane, rung: Rung) -> float:
        """Seconds until all images of a job that still wait are answered, all of them by this setting."""
        lane = self._lane(job.model, rung)
        rows = min(job.waiting, lane.capacity)
        waves = math.ceil(job.waiting / lane.capacity)
        attempts = max(1.0, (rung.most_nfe - lane.evaluations_to_start) / lane.evaluations_per_step)
        wave = job.model.costs.answer(rows, rung.most_nfe) + attempts * self._others(lane)
        ahead = min((len(home.line) - 1) * job.waiting, self._admission.waiting(job.priority))
        return waves * wave + ahead * self._admission.seconds_per_row

    def _others(self, lane: Lane) -> float:
        """Seconds of a turn of each of the other lanes at work."""
        return sum(other.seconds for other in self._active if other is not lane)

    def _learn_pace(self, seconds: float, answered: int) -> None:
        """Note in how many seconds so many images were answered."""
        self._busy = MEMORY * self._busy + seconds
        self._answered = MEMORY * self._answered + answered
        if self._answered > LEAST_ANSWERED:
            self._admission.learn(self._busy / self._answered)

    def _home(self, job: Job) -> Lane:
        """The lane in whose line a job waits: that of the setting it asks for."""
        return self._lane(job.model, job.terms.rungs[0])

    def _lane(self, model: ServedModel, rung: Rung) -> Lane:
        """The lane of a setting, which is kept for as long as anybody has the model.

        Rows keep their places to the end, so those that go on for long have lanes of their own: else, once they had
        taken all places, the others would wait for them.
        """
        lanes = self._lanes.setdefault(model, {})
        key = rung.method, rung.pace
        if key not in lanes:
            lanes[key] = Lane(model, rung.method)
        return lanes[key]

    def _activate(self, lane: Lane) -> None:
        """Let a lane have turns, if it does not already."""
        if lane not in self._active:
            self._active.append(lane)

    def _tell(self, job: Job) -> None:
        """Tell whoever waits that a job has ended."""
        if job.end:
            self.counts.jobs[job.end] += 1
        self._deadlines.discard(job)
        if job.on_end:
            job.on_end(job)


class Deadlines:
    """The jobs that have one, by when it passes."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Job]] = []
        self._numbers = count()
        self._ended = 0

    def __bool__(self) -> bool:
        return len(self._heap) > self._ended

    def add(self, job: Job) -> None:
        """Note a job, if it has a deadline."""
        if job.deadline is not None:
            heapq.heappush(self._heap, (job.deadline, next(self._numbers), job))

    def discard(self, job: Job) -> None:
        """Forget a job that has ended, now or soon: they are cleared out when they are the most."""
        if job.deadline is None:
            return
        self._ended += 1
        if self._ended > len(self._heap) / 2:
            self._heap = [entry for entry in self._heap if not entry[-1].end]
            heapq.heapify(self._heap)
            self._ended = 0

    def passed(self, now: float) -> Iterator[Job]:
        """The jobs whose deadline has passed, which are forgotten."""
        while self._heap and self._heap[0][0] <= now:
            job = heapq.heappop(self._heap)[-1]
            self._ended -= 1  # it has ended, and was counted; or ends by what is done with it now
            if not job.end:
                yield job
