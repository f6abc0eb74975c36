"""A scheduler that a test drives turn by turn: a real model, costs that are told, and a clock that is set by hand."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from models import artifact as artifacts
from models.artifact import newest
from models.backends.answer import Answer
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.solvers.settings import SolverSettings
from service.engine.admission import Admission
from service.engine.costs import Costs
from service.engine.model import ServedModel
from service.engine.plan import Candidate, SolverFields
from service.engine.request import End, EngineRequest, Priority
from service.engine.scheduler import Scheduler
from tests.digits import load_test_set
from tests.serving import FITTED

DIGITS = load_test_set()[0]
EVALUATION = 5e-5
"""Seconds of an evaluation of f for an image, and for two twice as many, as the models' costs are told."""

MOST_TURNS = 20_000
"""After so many turns whatever a test waits for is not going to happen."""


@cache
def backend_of(name: str) -> Backend:
    folder = newest(FITTED / name)
    assert folder is not None
    return OnnxBackend(folder, artifacts.read(folder).manifest.methods)


def served(name: str, backend: Backend | None = None) -> ServedModel:
    """A model that ships, whose costs are told and not measured."""
    folder = newest(FITTED / name)
    assert folder is not None
    stem, evaluation, head = (tuple(n * seconds for n in range(65)) for seconds in (1e-4, EVALUATION, 1e-5))
    return ServedModel(artifacts.read(folder), backend or backend_of(name), Costs(stem, evaluation, head))


class Clock:
    """Shows the time that a test sets, and goes on by a turn's worth after the first look in each.

    Attributes:
        now: what it shows.
        pace: seconds of a turn.
        looks: in this turn, so far.
    """

    def __init__(self, pace: float = 0.0) -> None:
        self.now = 1000.0
        self.pace = pace
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == 2:
            self.now += self.pace
        return self.now


class Driver:
    """The engine without its thread.

    Attributes:
        ended: the requests that did, in that order, each as often as it was told.
    """

    def __init__(self, model: ServedModel, queue_rows: int = 1024, pace: float = 0.0) -> None:
        self.model = model
        self.clock = Clock(pace)
        self.admission = Admission(queue_rows)
        self.ended: list[EngineRequest] = []
        self.scheduler = Scheduler(self.admission, self.clock, self.ended.append)

    def job(
        self,
        digits: Sequence[int],
        model: ServedModel | None = None,
        priority: Priority = Priority.normal,
        floor: float = 0.99,
        traced: bool = False,
        **fields: Any,
    ) -> EngineRequest:
        """A request for digits of the test set that has just arrived."""
        model = model or self.model
        plan = model.plan(SolverFields(**fields), floor)
        images, now = DIGITS[list(digits)], self.clock.now
        return EngineRequest(model, images, plan, now, now, priority, traced=traced)

    def ask(self, digits: Sequence[int], **asked: Any) -> EngineRequest:
        """Let a request in, as `request` makes it."""
        request = self.job(digits, **asked)
        self.admission.enter(len(request.images), request.priority)
        self.scheduler.submit(request)
        return request

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.looks = 0
            self.scheduler.turn()

    def turns_until(self, happened: Callable[[], object]) -> int:
        """Give turns until something has happened, and say how many that took."""
        for turns in range(MOST_TURNS):
            if happened():
                return turns
            self.turn()
        raise AssertionError("it does not happen")

    def run(self) -> None:
        """Give turns until there is nothing to do, and see that nothing is left behind."""
        self.turns_until(lambda: self.scheduler.idle)
        assert [self.admission.waiting(priority) for priority in Priority] == [0, 0, 0]
        assert len({id(request) for request in self.ended}) == len(self.ended), "each is told once"
        assert sum(self.scheduler.counts.requests.values()) == len(self.ended)

    @property
    def evaluations(self) -> int:
        return self.scheduler.counts.evaluations

    def counted(self, end: End) -> int:
        return self.scheduler.counts.requests[end]


@cache
def _alone(name: str, image: bytes, solver: SolverSettings | None) -> Answer:
    return classify(backend_of(name), np.frombuffer(image, np.uint8).reshape(1, 28, 28), solver)


def alone(request: EngineRequest, row: int) -> Answer:
    """The answer to an image of a request by itself, at the setting that the request says it was solved by."""
    return _alone(request.model.name, request.images[row].tobytes(), request.chosen[row].solver)


def assert_answered_as_alone(request: EngineRequest) -> None:
    """Every bit of the answer is that which each image gets by itself."""
    assert request.end is End.answered
    for row in range(len(request.images)):
        expected = alone(request, row)
        for name in Answer._fields:
            assert_array_equal(getattr(request.answer, name)[row], getattr(expected, name)[0], err_msg=name)


def tolerances(candidates: Sequence[Candidate]) -> list[float]:
    """The tolerance of each setting."""
    return [
        candidate.solver.rtol
        for candidate in candidates
        if candidate.solver is not None and candidate.solver.rtol is not None
    ]
