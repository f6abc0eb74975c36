"""The estimated costs of the parts of a model."""

import math
from itertools import pairwise

import pytest

from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from service.engine.costs import LARGEST_SURPRISE, Costs, Pace
from service.engine.model import LARGEST_BATCH, ServedModel
from tests.service.engine.device import Device, DeviceBackend
from tests.service.engine.driving import backend_of

MOST = 8


@pytest.fixture
def costs() -> Costs:
    """Ten seconds for the stem of a row, one second for an evaluation, and a tenth for the head."""
    stem, evaluation, head = (tuple(seconds * rows for rows in range(MOST + 1)) for seconds in (10.0, 1.0, 0.1))
    return Costs(stem, evaluation, head)


@pytest.mark.parametrize("solver", [SolverSettings.adaptive("heun2", 1e-1), SolverSettings.adaptive("dopri5", 1e-3)])
def test_costs_are_known_for_every_number_of_rows(solver: SolverSettings) -> None:
    costs = Costs.measure(backend_of("odenet-mnist"), solver, MOST)
    for table in (costs.stem, costs.evaluation, costs.head):
        assert len(table) == MOST + 1
        assert table[0] == 0
        assert all(fewer <= more for fewer, more in pairwise(table))
    assert costs.evaluation[MOST] > costs.evaluation[1] > 0
    assert costs.correction == 1


class Queue(Device):
    """A device that works in the background, as a GPU does: a call returns at once, and only the clock waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.waiting = 0.0

    def take_time(self, stems: int = 0, steps: int = 0, heads: int = 0, evaluations: int = 0) -> None:
        self.waiting += 10.0 * stems + 1.0 * steps * evaluations + 0.1 * heads


class QueueBackend(DeviceBackend):
    """A backend on a device that works in the background."""

    device: Queue

    def clock(self) -> float:
        self.device.now += self.device.waiting
        self.device.waiting = 0.0
        return self.device.now


def test_each_part_is_timed_until_the_device_has_computed_it(costs: Costs) -> None:
    backend = QueueBackend(backend_of("odenet-mnist"), Queue())
    measured = Costs.measure(backend, SolverSettings.adaptive("heun2", 1e-1), MOST)
    for part in ("stem", "evaluation", "head"):
        assert getattr(measured, part) == pytest.approx(getattr(costs, part)), part


class Growing(Queue):
    """A device that is slow while it takes memory: in the first two stems that have more rows than all before."""

    def __init__(self) -> None:
        super().__init__()
        self._most = self._grown = 0

    def take_time(self, stems: int = 0, steps: int = 0, heads: int = 0, evaluations: int = 0) -> None:
        super().take_time(stems, steps, heads, evaluations)
        if stems > self._most:
            self._most, self._grown = stems, 0
        if stems == self._most and self._grown < 2:
            self._grown += 1
            self.waiting += 1000


def test_the_time_that_the_first_batches_need_for_memory_is_no_cost_of_their_rows() -> None:
    most = LARGEST_BATCH["cpu"]
    measured = Costs.measure(
        QueueBackend(backend_of("odenet-mnist"), Growing()), SolverSettings.adaptive("heun2", 1e-1), most
    )
    assert measured.stem == pytest.approx([10.0 * rows for rows in range(most + 1)])


@pytest.mark.parametrize("most", [1, 5, 6])
def test_the_largest_number_of_rows_need_not_be_a_power_of_four(most: int) -> None:
    costs = Costs.measure(backend_of("odenet-mnist"), SolverSettings.adaptive("heun2", 1e-1), most)
    assert len(costs.evaluation) == most + 1


def test_a_model_without_an_ode_has_no_cost_of_evaluations(mlp: ServedModel) -> None:
    costs = Costs.measure(mlp.backend, None, MOST)
    assert set(costs.evaluation) == {0}
    assert costs.stem[1] > 0
    assert costs.answer(3, 0) > 0


def test_a_warm_model_has_measured_costs(model: ServedModel) -> None:
    warm, default = ServedModel.warm(model.artifact, model.backend), model.artifact.manifest.default_solver
    assert default is not None
    assert warm.costs.answer(1, METHODS[default.method].least_evaluations) > warm.step_seconds > 0


def test_an_iteration_counts_as_its_images_one_by_one(costs: Costs) -> None:
    assert costs.alone(joined=2, stepped=3, evaluations=2, answered=1) == pytest.approx(2 * 10 + 3 * 2 + 0.1)


def test_the_pace_is_the_ratio_of_the_time_that_passed_to_the_expected_time() -> None:
    pace = Pace()
    assert pace.value == 1
    for seconds, expected in ((1.0, 2.0), (0.0, 0.0)):
        pace.add(seconds, expected)
        assert pace.value == 0.5
    for _ in range(300):
        pace.add(3.0, 1.0)
    assert pace.value == pytest.approx(3, rel=0.02)


def test_an_answer_costs_the_sum_of_its_parts(costs: Costs) -> None:
    assert costs.answer(2, 7) == pytest.approx(20 + 14 + 0.2)


def test_the_most_rows_keep_a_step_within_its_limit(costs: Costs) -> None:
    assert costs.step(rows=3, evaluations=2) == 6
    assert [costs.rows_within(seconds, evaluations=2) for seconds in (5.9, 6, 7.9, 8, math.inf)] == [2, 3, 3, 4, MOST]


def test_a_step_of_a_model_without_an_ode_is_the_whole_network(costs: Costs) -> None:
    assert costs.step(rows=3, evaluations=0) == costs.answer(3, 0)
    assert costs.rows_within(35, evaluations=0) == 3


def test_the_most_stems_stay_within_their_limit(costs: Costs) -> None:
    assert [costs.stems_within(seconds) for seconds in (19, 20, 45, math.inf)] == [1, 2, 4, MOST]


def test_a_slower_machine_takes_fewer_rows_in_the_same_time(costs: Costs) -> None:
    costs.correction = 2
    assert costs.rows_within(12, evaluations=2) == 3
    assert costs.stems_within(45) == 2


def test_at_least_one_row_is_allowed(costs: Costs) -> None:
    assert costs.rows_within(0.1, evaluations=100) == costs.stems_within(0.1) == 1


@pytest.mark.parametrize("slowness", [0.5, 1.0, 3.0, 20.0])
def test_the_correction_approaches_the_measured_time(costs: Costs, slowness: float) -> None:
    corrections = [costs.correction]
    for _ in range(1000):
        joined, stepped, evaluations = 2, 5, 6
        costs.correct(joined, stepped, evaluations, seconds=slowness * (20 + 30 + 0.1))
        corrections.append(costs.correction)
    assert costs.correction == pytest.approx(slowness, rel=0.01)
    assert corrections in (sorted(corrections), sorted(corrections, reverse=True)), "the change is gradual"
    assert costs.answer(1, 1) == pytest.approx(slowness * 11.1, rel=0.01)


def test_one_unusual_measurement_changes_little(costs: Costs) -> None:
    for seconds in (1e9, 0.0):
        before = costs.correction
        costs.correct(joined=1, stepped=1, evaluations=2, seconds=seconds)
        assert costs.correction == pytest.approx(before, rel=0.03 * LARGEST_SURPRISE)


def test_more_rows_than_were_measured_cost_as_much_as_the_most_that_were(costs: Costs) -> None:
    before = costs.correction
    costs.correct(joined=MOST, stepped=2 * MOST, evaluations=1, seconds=80 + 8 + 0.1)
    assert costs.correction == pytest.approx(before)
