"""Memory against depth: it grows by the same amount with every block or evaluation, and not at all with the adjoint."""

from pathlib import Path

import pytest
import torch

from benchmarks import memory
from benchmarks.memory import Growth, Point
from models.networks.odenet import ODENet
from models.networks.resnet import ResNet
from training.data import Dataset, Split


@pytest.fixture
def digits(few_digits: Dataset) -> Split:
    return Split(*(column[:4] for column in few_digits.fit))


def solving(network: ODENet, steps: int, digits: Split, *, adjoint: bool) -> float:
    return memory.cost("", steps, memory.solving(network, steps, adjoint=adjoint), digits).memory


def test_a_slice_of_a_dataset_counts_only_its_own_rows(digits: Split) -> None:
    rows = len(digits.labels)
    assert digits.labels.untyped_storage().nbytes() > rows * digits.labels.itemsize
    logits = torch.zeros(rows, 10, requires_grad=True)
    kept = rows * (10 * 4 + 8) + 4  # for each image ten log-probabilities and a label; for the batch the total weight
    assert memory.cost("", 1, lambda _: logits, digits).memory == kept / rows


def test_with_the_adjoint_eight_steps_take_as_much_memory_as_two(network: ODENet, digits: Split) -> None:
    assert solving(network, 8, digits, adjoint=True) == solving(network, 2, digits, adjoint=True) > 0


def test_through_the_solver_every_step_adds_the_same_memory(network: ODENet, digits: Split) -> None:
    two, four, eight = (solving(network, steps, digits, adjoint=False) for steps in (2, 4, 8))
    assert four > 1.2 * two
    assert eight - four == pytest.approx(2 * (four - two), rel=0.01)


def test_every_block_adds_the_same_memory(few_digits: Dataset, digits: Split) -> None:
    one, two, four = (
        memory.cost("", blocks, ResNet(few_digits.normalisation, blocks=blocks), digits) for blocks in (1, 2, 4)
    )
    assert two.memory > 1.05 * one.memory
    assert four.memory - two.memory == pytest.approx(2 * (two.memory - one.memory), rel=0.01)
    assert four.seconds > 0


def test_growth_is_the_slope_of_one_system() -> None:
    points = [Point("ResNet", depth, 100 + 7.0 * depth, 0.25 * depth) for depth in (1, 2, 4)]
    points += [Point("RK-Net", depth, 1e6 * depth, 1e3 * depth) for depth in (4, 8)]
    assert memory.growth(points, "ResNet") == pytest.approx(Growth(7, 0.25))


def test_same_points_give_the_same_figure(tmp_path: Path) -> None:
    points = [Point(system, depth, 1e4 * depth, 0.01 * depth) for system in memory.UNITS for depth in (1, 2, 4)]
    for name in ("first", "second"):
        memory.draw(points, tmp_path / "figures" / f"{name}.svg")
    drawn = (tmp_path / "figures" / "first.svg").read_text()
    assert drawn == (tmp_path / "figures" / "second.svg").read_text()
    assert "ODE-Net, by evaluations" in drawn
