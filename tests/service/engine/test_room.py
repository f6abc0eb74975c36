"""How many images a batch holds and lets in: by the costs of the machine, by the images that wait, and by deadlines."""

from itertools import pairwise
from typing import Any

import pytest

from service.engine.model import ServedModel
from service.engine.tuning import DEADLINE_SHARE, PATIENCE
from tests.service.engine.driving import Driver, assert_answered_as_alone, timed

TIGHT = {"method": "dopri5", "tolerance": 1e-6}
LOOSE: dict[str, Any] = {"method": "heun2", "tolerance": 1e-1}
SPEEDS = {"fast": 0.4, "usual": 1.0, "slow": 20.0}
"""For each machine: the time that an operation takes, relative to a usual machine."""

every_machine = pytest.mark.parametrize("slowness", SPEEDS.values(), ids=SPEEDS.keys())


class Machine:
    """An engine on a device with known costs."""

    def __init__(self, slowness: float) -> None:
        self.driver = timed(slowness)
        self.model = self.driver.model
        self.costs = self.model.costs

    @property
    def own_step(self) -> float:
        """Seconds of a step of a loose image alone."""
        return self.model.step_seconds

    def iterate(self) -> float:
        """Run an iteration; return the seconds that it took."""
        before = self.driver.clock.now
        self.driver.iterate()
        return self.driver.clock.now - before

    def rows(self, **fields: object) -> int:
        """How many images are in flight together, when many wait and no others come."""
        self.driver.submit(range(100), **fields)
        for _ in range(3):
            self.iterate()
        return self.driver.scheduler.rows


@every_machine
def test_a_batch_holds_as_many_images_on_a_fast_machine_as_on_a_slow_one(slowness: float) -> None:
    machine, usual = Machine(slowness), Machine(1.0)
    assert machine.rows(**LOOSE) == usual.rows(**LOOSE) > 8


@every_machine
def test_a_loose_image_waits_for_a_tight_batch_for_at_most_some_steps_of_its_own(slowness: float) -> None:
    machine = Machine(slowness)
    tight = machine.driver.submit(range(64), **TIGHT)
    for _ in range(5):
        assert machine.iterate() > 0
    loose = machine.driver.submit([0], **LOOSE)
    iterations = []
    while not loose.end:
        iterations.append(machine.iterate())
    limit = PATIENCE * machine.own_step
    stem = machine.costs.stem[1]
    assert max(iterations) <= limit + max(stem, limit), "the steps, and the stems or one stem"
    assert not tight.end
    assert len(iterations) <= 6
    assert_answered_as_alone(loose)


@every_machine
def test_images_that_join_are_let_in_gradually_while_others_wait(slowness: float) -> None:
    machine = Machine(slowness)
    machine.driver.submit([0], **TIGHT)
    machine.iterate()
    loose = machine.driver.submit(range(64), **LOOSE)
    started = []
    while loose.queued:
        machine.iterate()
        started.append(loose.started)
    most = max(after - before for before, after in pairwise([0, *started]))
    allowed = PATIENCE * machine.model.costs.step(1, 6)
    assert machine.costs.stem[most] <= allowed < machine.costs.stem[64]


def test_images_join_together_when_no_others_wait() -> None:
    machine = Machine(1.0)
    loose = machine.driver.submit(range(64), **LOOSE)
    machine.iterate()
    assert loose.started == machine.driver.scheduler.rows > 8


@every_machine
def test_a_near_deadline_keeps_steps_short(slowness: float) -> None:
    machine, fields = Machine(slowness), LOOSE | {"tolerance": 1e-2}  # these images take several steps
    seconds = 16 * machine.own_step
    waiting = machine.driver.submit(range(64), **fields, deadline_ms=60_000)
    hurried = machine.driver.submit([0], **fields, deadline_ms=1e3 * seconds)
    machine.iterate()
    rows = machine.driver.scheduler.rows
    assert 1 <= rows < Machine(slowness).rows(**fields)
    assert machine.model.costs.step(rows, 2) <= DEADLINE_SHARE * seconds
    assert waiting.queued
    machine.driver.iterate_until(lambda: hurried.end)
    machine.iterate()
    assert machine.driver.scheduler.rows > rows, "the deadline is over"


def test_a_model_without_an_ode_fills_its_batch(mlp: ServedModel) -> None:
    driver = Driver(mlp)
    request = driver.submit(range(64))
    driver.iterate()
    assert 8 <= request.started < 64
