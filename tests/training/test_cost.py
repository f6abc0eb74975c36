"""The cost of a training step: what is kept for the backward pass, counted by hand where a hand can."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from tests.training.fits import adjoint, recipe, without_ode
from training.cost import count_activations, training_cost
from training.data import Dataset
from training.recipe import Recipe


def memory(told: Recipe, dataset: Dataset, rows: int = 4) -> float:
    """Bytes an image."""
    network = NETWORKS[told.network](dataset.normalisation)
    return training_cost(network, told, dataset.fit.images[:rows], dataset.fit.labels[:rows]).memory


@pytest.mark.parametrize("rows", [1, 5])
def test_a_multilayer_perceptron_keeps_what_can_be_counted(digits: Dataset, rows: int) -> None:
    """The pixels, the hidden units, the logarithms of the probabilities, and the label; no weights, however many.

    And for the batch the sum of the weights of its classes. The dataset that it is a part of is kept anyway.
    """
    expected = 4 * 784 + 4 * 300 + 4 * 10 + 8
    assert memory(without_ode("mlp"), digits, rows) == expected + 4 / rows


@pytest.mark.parametrize("told", [without_ode("resnet"), recipe()], ids=lambda told: told.network)
def test_every_image_costs_the_same(digits: Dataset, told: Recipe) -> None:
    """So that no weights are in it, which would be shared by the images."""
    few, many = (memory(told, digits, rows) for rows in (2, 8))
    assert few == pytest.approx(many, rel=1e-3)


def test_by_the_adjoint_the_images_share_the_gradient_that_is_solved_for(digits: Dataset) -> None:
    """It is part of the state going back, in which every weight of the dynamics has its place."""
    few, many = (memory(recipe(solver=adjoint()), digits, rows) for rows in (2, 8))
    shared = (few - many) / (1 / 2 - 1 / 8)
    weights = ODENet(digits.normalisation).dynamics.parameters()
    assert shared == pytest.approx(sum(weight.nbytes for weight in weights), rel=0.01)


def through_solver(steps: int) -> Recipe:
    return recipe(solver={"gradient": "solver", "method": "rk4", "steps": [steps], "kinetic_penalty": 0})


def test_through_the_solver_every_step_costs_the_same(digits: Dataset) -> None:
    """Of rk4, four times the activations of f: at least the arguments of its five layers."""
    costs = [memory(through_solver(steps), digits) for steps in (1, 2, 3, 4)]
    differences = [more - less for less, more in pairwise(costs)]
    assert differences == pytest.approx([differences[0]] * 3, rel=1e-6)
    assert differences[0] > 4 * 5 * 4 * 64 * 6 * 6


def test_by_the_adjoint_a_tighter_solve_costs_none(digits: Dataset) -> None:
    loose, tight = (memory(recipe(solver=adjoint("dopri5", tolerance)), digits) for tolerance in (1.0, 1e-3))
    assert tight == loose
    assert tight < memory(through_solver(2), digits)


def test_outliers_cost_what_digits_do(digits: Dataset) -> None:
    assert memory(recipe(outliers={"rows": 8, "weight": 1}), digits) == memory(recipe(), digits)


def test_seconds_are_measured_and_gradients_cleared(digits: Dataset) -> None:
    network = ODENet(digits.normalisation)
    cost = training_cost(network, recipe(), digits.fit.images[:2], digits.fit.labels[:2])
    assert cost.forward > 0
    assert cost.backward > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_what_is_kept_twice_is_counted_once() -> None:
    x = torch.randn(100, requires_grad=True)
    with count_activations() as activations:
        y = x * 2
        z = y.sin() + y.cos() + y[:50].exp().sum()
    assert activations.peak == 100 * 4 + 50 * 4  # y, and the exponentials of its half
    z.sum().backward()  # type: ignore[no-untyped-call]


def test_what_is_let_go_no_longer_counts() -> None:
    """The peak is of what is kept at the same time, and stays when all is gone."""
    x = torch.randn(100, requires_grad=True)
    with count_activations() as activations:
        for _ in range(5):
            x.sin().sum().backward()  # type: ignore[no-untyped-call]
        assert activations.peak == 100 * 4
        (x.sin() + (2 * x).sin()).sum().backward()  # type: ignore[no-untyped-call]
    assert activations.peak == 2 * 100 * 4


def test_parameters_are_not_counted_whichever_way_they_are_kept() -> None:
    """As they are, or seen as a transposed matrix."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 7), nn.Linear(7, 3))
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    with count_activations() as activations:
        layers(x)
    assert activations.peak == x.nbytes + 2 * 4 * 4 + 2 * 7 * 4
