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
from service.engine.batch import Lane, Row
from service.engine.model import ServedModel
from service.engine.plan import Candidate
from service.engine.request import End, EngineRequest

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
        requests: that ended, by how.
        begun: images that left the queue.
        degraded: of them, those that are solved more loosely than was asked.
        evaluations: of f, for one image each.
        turns: of a lane.
    """

    requests: Counter[End] = field(default_factory=lambda: Counter(dict.fromkeys(End, 0)))
    begun: int = 0
    degraded: int = 0
    evaluations: int = 0
    turns: int = 0

    @classmethod
    def sum(cls, counts: list[Self]) -> Self:
        """What several schedulers have done."""
        requests = sum((one.requests for one in counts), Counter[End]())
        numbers = [each.name for each in fields(cls) if each.name != "requests"]
        return cls(requests, **{name: sum(getattr(one, name) for one in counts) for name in numbers})


class Iteration(NamedTuple):
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
        on_end: called once with each request that has ended.

    Attributes:
        counts: what was done since the start.
    """

    def __init__(
        self,
        admission: Admission,
        clock: Callable[[], float],
        on_end: Callable[[EngineRequest], object] = lambda _: None,
    ) -> None:
        self.counts = Counts()
        self._admission = admission
        self._clock = clock
        self._on_end = on_end
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

    def submit(self, request: EngineRequest) -> None:
        """Take in a request whose images have been admitted."""
        if not self._answered:  # nothing is known yet but what the model is expected to take
            self._learn_pace(request.model.expected_seconds, 1)
        lane = self._home(request)
        lane.line.append(request)
        self._activate(lane)
        self._deadlines.add(request)

    def end(self, request: EngineRequest, end: End) -> None:
        """End a request before it is answered; its rows in flight are dropped before the next step of their lane."""
        if request.end:
            return
        if waiting := request.queued:
            self._home(request).line.remove(request)
            self._admission.leave(waiting, request.priority)
        request.end = end
        self._tell(request)

    def give_up(self, request: EngineRequest) -> None:
        """End a request as failed that could not be submitted."""
        self._admission.leave(request.queued, request.priority)
        request.end = End.failed
        self._tell(request)

    def end_all(self, end: End) -> None:
        """End every request."""
        for lane in [lane for lanes in self._lanes.values() for lane in lanes.values()]:
            for request in (*lane.line, *(row.request for row in lane.rows)):
                self.end(request, end)

    def turn(self) -> Iteration | None:
        """Give the next lane its turn: rows leave, rows join, and all of them attempt a step.

        Returns:
            What it was about; None where no lane has anything to do.
        """
        started = self._clock()
        for request in self._deadlines.passed(started):
            self.end(request, End.expired)
        if not self._active:
            return None
        lane = self._active.popleft()
        begun, joining = self.counts.begun, dict[Lane, list[Row]]()
        ended, stepped, answered, traced = list[EngineRequest](), 0, 0, False
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
        for request in ended:
            self._tell(request)
        for each in (lane, *joining):
            if each.active:
                self._activate(each)
        return Iteration(lane.name, lane.version, stepped)

    def _fill(self, lane: Lane, now: float, joining: dict[Lane, list[Row]]) -> None:
        """Begin images of the lane's line, each in the lane of its setting, while there is room.

        Args:
            lane: whose turn it is.
            now: when that began.
            joining: told which rows go where.
        """
        rooms: dict[Lane, int] = {}
        while request := lane.line.head():
            candidate, degraded = self._choose(request, lane, now)
            target = self._lane(request.model, candidate)
            guest = target is not lane
            if target not in rooms:
                rooms[target] = target.room(guest=guest)
            if not rooms[target]:
                break
            rooms[target] -= 1
            joining.setdefault(target, []).append(
                Row(request, request.start_next(candidate, degraded=degraded, now=now), guest)
            )
            lane.line.advance()
            self._admission.leave(1, request.priority)
            self.counts.begun += 1
            self.counts.degraded += degraded
        for target, rows in joining.items():
            target.join(rows)
            self.counts.evaluations += target.evaluations_to_start * len(rows)
            joined = self._clock()
            for row in rows:
                row.request.in_flight_at = row.request.in_flight_at or joined

    def _step(self, lane: Lane, started: float) -> list[EngineRequest]:
        """Let every row of the lane attempt a step, and those that have ended leave; requests that end with them."""
        if self._deadlines:
            lane.hurry(started + RESERVE + SAFETY * 2 * (lane.seconds + self._others(lane)))
        self.counts.turns += 1
        self.counts.evaluations += lane.evaluations_per_step * len(lane.rows)
        if not (places := lane.attempt()):
            return []
        solved = self._clock()
        ended = lane.answer(places)
        answered = self._clock()
        for request in ended:
            request.solved_at, request.answered_at = solved, answered
        return ended

    def _fail(self, lane: Lane, joining: dict[Lane, list[Row]]) -> None:
        """Give up all that a turn was about, which failed: the lane, and those that rows of it were to join."""
        logger.exception("the computation of %s failed", lane.name)
        rows = [row for each in {lane, *joining} for row in each.clear()]
        for row in (*rows, *(row for told in joining.values() for row in told)):
            self.end(row.request, End.failed)

    def _choose(self, request: EngineRequest, lane: Lane, now: float) -> tuple[Candidate, bool]:
        """By which of its settings the next image of a request is solved, and whether that is for the queue's sake."""
        candidates = request.plan.candidates
        if request.plan.by_deadline and request.deadline is not None:
            left = request.deadline - RESERVE - now
            return next(
                (candidate for candidate in candidates if SAFETY * self._expected(request, lane, candidate) <= left),
                candidates[-1],
            ), False
        fullness = self._admission.fullness(request.priority)
        alone = self._admission.waiting() == request.queued  # a list that nobody waits behind may take its time
        if len(candidates) == 1 or alone or fullness <= BROWN_OUT_FROM:
            return candidates[0], False
        share = min(1.0, (fullness - BROWN_OUT_FROM) / (BROWN_OUT_TO - BROWN_OUT_FROM))
        most = candidates[0].nfe ** (1 - share) * candidates[-1].nfe ** share
        chosen = next((candidate for candidate in candidates if candidate.nfe <= most), candidates[-1])
        return chosen, chosen is not candidates[0]

    def _expected(self, request: EngineRequest, home: Lane, candidate: Candidate) -> float:
        """Seconds until all images of a request that still wait are answered, all of them by this setting."""
        lane = self._lane(request.model, candidate)
        rows = min(request.queued, lane.capacity)
        waves = math.ceil(request.queued / lane.capacity)
        attempts = max(1.0, (candidate.nfe_p90 - lane.evaluations_to_start) / lane.evaluations_per_step)
        wave = request.model.costs.answer(rows, candidate.nfe_p90) + attempts * self._others(lane)
        ahead = min((len(home.line) - 1) * request.queued, self._admission.waiting(request.priority))
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

    def _home(self, request: EngineRequest) -> Lane:
        """The lane in whose line a request waits: that of the setting it asks for."""
        return self._lane(request.model, request.plan.candidates[0])

    def _lane(self, model: ServedModel, candidate: Candidate) -> Lane:
        """The lane of a setting, which is kept for as long as anybody has the model.

        Rows keep their places to the end, so those that go on for long have lanes of their own: else, once they had
        taken all places, the others would wait for them.
        """
        lanes = self._lanes.setdefault(model, {})
        key = candidate.method, candidate.length_class
        if key not in lanes:
            lanes[key] = Lane(model, candidate.method)
        return lanes[key]

    def _activate(self, lane: Lane) -> None:
        """Let a lane have turns, if it does not already."""
        if lane not in self._active:
            self._active.append(lane)

    def _tell(self, request: EngineRequest) -> None:
        """Tell whoever waits that a request has ended."""
        if request.end:
            self.counts.requests[request.end] += 1
        self._deadlines.discard(request)
        self._on_end(request)


class Deadlines:
    """The requests that have one, by when it passes."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, EngineRequest]] = []
        self._numbers = count()
        self._ended = 0

    def __bool__(self) -> bool:
        return len(self._heap) > self._ended

    def add(self, request: EngineRequest) -> None:
        """Note a request, if it has a deadline."""
        if request.deadline is not None:
            heapq.heappush(self._heap, (request.deadline, next(self._numbers), request))

    def discard(self, request: EngineRequest) -> None:
        """Forget a request that has ended, now or soon: they are cleared out when they are the most."""
        if request.deadline is None:
            return
        self._ended += 1
        if self._ended > len(self._heap) / 2:
            self._heap = [entry for entry in self._heap if not entry[-1].end]
            heapq.heapify(self._heap)
            self._ended = 0

    def passed(self, now: float) -> Iterator[EngineRequest]:
        """The requests whose deadline has passed, which are forgotten."""
        while self._heap and self._heap[0][0] <= now:
            request = heapq.heappop(self._heap)[-1]
            self._ended -= 1  # it has ended, and was counted; or ends by what is done with it now
            if not request.end:
                yield request
