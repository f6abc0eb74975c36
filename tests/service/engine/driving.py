"""A scheduler that a test drives iteration by iteration: real models, fixed costs, and a clock that the test sets."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.testing import assert_array_equal

from models import artifact as artifacts
from models.artifact import Artifact, newest
from models.backends.answer import Answer
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings
from service.engine.admission import Admission
from service.engine.candidate import Candidate
from service.engine.costs import Costs
from service.engine.model import ServedModel
from service.engine.plan import SolverFields
from service.engine.request import End, EngineRequest, Priority
from service.engine.scheduler import Scheduler
from tests.digits import load_test_set
from tests.service.engine.device import Device, DeviceBackend
from tests.serving import FITTED

DIGITS = load_test_set()[0]
EVALUATION = 5e-5
"""Seconds of an evaluation of f for one image, by the fixed costs; two images take twice as long."""

MOST_ITERATIONS = 20_000
"""Iterations after which a test gives up."""

DEVICE = Device()
"""The device of every model whose test does not have its own device."""


@cache
def artifact_of(name: str) -> Artifact:
    folder = newest(FITTED / name)
    assert folder is not None
    return artifacts.read(folder)


@cache
def backend_of(name: str) -> OnnxBackend:
    artifact = artifact_of(name)
    return OnnxBackend(artifact.folder, artifact.manifest.methods)


def served(name: str, device: Device = DEVICE) -> ServedModel:
    """A shipped model with fixed costs."""
    stem, evaluation, head = (tuple(n * seconds for n in range(65)) for seconds in (1e-4, EVALUATION, 1e-5))
    backend = DeviceBackend(backend_of(name), device)
    return ServedModel(artifact_of(name), backend, Costs(stem, evaluation, head))


class Clock:
    """A clock that a test sets. In each iteration the clock advances once, after its first reading.

    Attributes:
        now: the time.
        iteration_seconds: seconds by which the clock advances in an iteration.
        looks: the number of readings in the present iteration.
    """

    def __init__(self, iteration_seconds: float = 0.0) -> None:
        self.now = 1000.0
        self.iteration_seconds = iteration_seconds
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        if self.looks == 2:
            self.now += self.iteration_seconds
        return self.now


class Driver:
    """The engine without its thread.

    Attributes:
        ended: the requests that have ended, in this order, each as often as it was reported.
        iterations: the iterations in which any image attempted a step.
        device: the device of the model.
    """

    def __init__(
        self,
        model: ServedModel,
        queue_seconds: float = 60.0,
        iteration_seconds: float = 0.0,
        device: Device = DEVICE,
    ) -> None:
        self.model = model
        self.clock = Clock(iteration_seconds)
        self.admission = Admission(queue_seconds)
        self.ended: list[EngineRequest] = []
        self.iterations = 0
        self.scheduler = Scheduler(self.admission, self.clock, self.ended.append)
        self.device = device
        self._evaluations_before = device.evaluations

    def request(
        self,
        digits: Sequence[int],
        model: ServedModel | None = None,
        priority: Priority = Priority.normal,
        caller: str = "",
        floor: float = 0.99,
        traced: bool = False,
        **fields: Any,
    ) -> EngineRequest:
        """A request for digits of the test set that has just arrived."""
        model = model or self.model
        plan = model.plan(SolverFields(**fields), floor)
        images, now = DIGITS[list(digits)], self.clock.now
        return EngineRequest(model, images, plan, now, now, priority, caller, traced=traced)

    def limit_queue(self, rows: int, **fields: Any) -> None:
        """Set the limit of the queue to the expected time of a number of images."""
        self.admission.seconds = rows * self.request([0], **fields).demand.seconds

    def submit(self, digits: Sequence[int], **fields: Any) -> EngineRequest:
        """Admit and submit a request, made as `request` makes it."""
        request = self.request(digits, **fields)
        self.admission.enter(request.demand)
        self.scheduler.submit(request)
        return request

    def iterate(self, times: int = 1) -> None:
        """Run a number of iterations."""
        for _ in range(times):
            self.clock.looks = 0
            iteration = self.scheduler.iterate()
            self.iterations += iteration is not None and iteration.rows > 0

    def iterate_until(self, happened: Callable[[], object]) -> int:
        """Run iterations until an event, and return how many it took."""
        for iterations in range(MOST_ITERATIONS):
            if happened():
                return iterations
            self.iterate()
        raise AssertionError(f"the event did not happen within {MOST_ITERATIONS} iterations")

    def run(self) -> None:
        """Run iterations until there is nothing to do, and check that nothing is left behind."""
        self.iterate_until(lambda: self.scheduler.idle)
        assert (self.admission.rows, self.admission.queued_seconds) == (0, 0)
        assert len({id(request) for request in self.ended}) == len(self.ended), "each end is reported once"
        assert all(request.end for request in self.ended)

    @property
    def evaluations(self) -> int:
        """Evaluations of f that the device has computed for this driver."""
        return self.device.evaluations - self._evaluations_before

    def count(self, end: End) -> int:
        """The number of requests that ended in some way."""
        return sum(request.end is end for request in self.ended)


@cache
def _alone(name: str, image: bytes, solver: SolverSettings | None) -> Answer:
    return classify(backend_of(name), np.frombuffer(image, np.uint8).reshape(1, 28, 28), solver)


class TimedDevice(Device):
    """A device on which every operation takes the time that the costs of its machine say.

    Attributes:
        clock: advances by the time of each operation.
    """

    clock: Clock

    def __init__(self, slowness: float) -> None:
        super().__init__()
        shares = [0.0, 1.0, *(0.7 for _ in range(63))]  # a further image takes less time than the first
        rising = list(accumulate(shares))
        stem, evaluation, head = (
            tuple(slowness * seconds * share for share in rising) for seconds in (4e-4, 1e-4, 2e-5)
        )
        self.costs = Costs(stem, evaluation, head)

    def take_time(self, stems: int = 0, steps: int = 0, heads: int = 0, evaluations: int = 0) -> None:
        self.clock.now += self.costs.stem[stems] + evaluations * self.costs.evaluation[steps] + self.costs.head[heads]


def timed(slowness: float = 1.0, queue_seconds: float = 60.0) -> Driver:
    """The engine on a device with known costs, whose clock advances by the time of each operation."""
    device = TimedDevice(slowness)
    model = served("odenet-mnist", device)
    vars(model)["costs"] = device.costs
    driver = Driver(model, queue_seconds, device=device)
    device.clock = driver.clock
    return driver


def alone(request: EngineRequest, row: int) -> Answer:
    """The answer to an image of a request alone, solved by the settings that the request reports."""
    return _alone(request.model.name, request.images[row].tobytes(), request.chosen[row].solver)


def first_candidate(request: EngineRequest, row: int) -> Candidate:
    """The candidate by which an image of a request was solved first."""
    last = request.chosen[row]
    return next(each for each in request.plan.candidates if last in {each, each.tighter})


def assert_answered_as_alone(request: EngineRequest) -> None:
    """Check that each image has the answer that it gets alone, bit for bit.

    An image that was solved again has the answer of its last solve, and the evaluations of both solves. It was solved
    again if and only if the margin of its first solve alone is small.
    """
    assert request.end is End.answered
    for row in range(len(request.images)):
        expected, first = alone(request, row), first_candidate(request, row)
        if first.tighter is not None:
            loose = _alone(request.model.name, request.images[row].tobytes(), first.solver)
            assert request.escalated[row] == (loose.margins[0] < first.threshold)
        if request.escalated[row]:
            expected = expected._replace(nfe=expected.nfe + loose.nfe)
        for name in Answer._fields:
            assert_array_equal(getattr(request.answer, name)[row], getattr(expected, name)[0], err_msg=name)


@cache
def doubtful_digits(name: str = "odenet-mnist") -> list[int]:
    """The digits among the first 400 of the test set that a model solves again by default."""
    model = served(name)
    candidate = model.plan(SolverFields(), 0.99).candidates[0]
    margins = classify(model.backend, DIGITS[:400], candidate.solver).margins
    return [int(digit) for digit in np.flatnonzero(margins < candidate.threshold)]


def tolerances(candidates: Sequence[Candidate]) -> list[float]:
    """The tolerance of each candidate."""
    return [
        candidate.solver.rtol
        for candidate in candidates
        if candidate.solver is not None and candidate.solver.rtol is not None
    ]
