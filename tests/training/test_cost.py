"""The cost of a training step, compared with counts by hand of the memory that the backward pass needs."""

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


def memory(fit_recipe: Recipe, dataset: Dataset, rows: int = 4) -> float:
    """The bytes of activations per image."""
    network = NETWORKS[fit_recipe.network](dataset.normalisation)
    return training_cost(network, fit_recipe, dataset.fit.images[:rows], dataset.fit.labels[:rows]).memory


@pytest.mark.parametrize("rows", [1, 5])
def test_the_memory_of_a_multilayer_perceptron_equals_a_count_by_hand(digits: Dataset, rows: int) -> None:
    """Per image: the pixels, the hidden units, the logarithms of the probabilities, and the label, but no weights.

    Per batch: one number, the sum of the weights of the classes. The dataset of the batch does not count.
    """
    expected = 4 * 784 + 4 * 300 + 4 * 10 + 8
    assert memory(without_ode("mlp"), digits, rows) == expected + 4 / rows


@pytest.mark.parametrize("fit_recipe", [without_ode("resnet"), recipe()], ids=lambda fit_recipe: fit_recipe.network)
def test_every_image_needs_the_same_memory(digits: Dataset, fit_recipe: Recipe) -> None:
    """The memory contains no weights, because all images of a batch would share them."""
    few, many = (memory(fit_recipe, digits, rows) for rows in (2, 8))
    assert few == pytest.approx(many, rel=1e-3)


def test_with_the_adjoint_the_images_share_the_memory_of_the_gradient(digits: Dataset) -> None:
    """The state of the backward solve contains the gradient of every weight of the dynamics."""
    few, many = (memory(recipe(solver=adjoint()), digits, rows) for rows in (2, 8))
    shared = (few - many) / (1 / 2 - 1 / 8)
    weights = ODENet(digits.normalisation).dynamics.parameters()
    assert shared == pytest.approx(sum(weight.nbytes for weight in weights), rel=0.01)


def through_solver(steps: int) -> Recipe:
    return recipe(solver={"gradient": "solver", "method": "rk4", "steps": [steps], "kinetic_penalty": 0})


def test_through_the_solver_every_step_needs_the_same_memory(digits: Dataset) -> None:
    """A step of rk4 needs four times the activations of f, which are at least the inputs of its five layers."""
    costs = [memory(through_solver(steps), digits) for steps in (1, 2, 3, 4)]
    differences = [more - less for less, more in pairwise(costs)]
    assert differences == pytest.approx([differences[0]] * 3, rel=1e-6)
    assert differences[0] > 4 * 5 * 4 * 64 * 6 * 6


def test_with_the_adjoint_a_tighter_tolerance_needs_no_more_memory(digits: Dataset) -> None:
    loose, tight = (memory(recipe(solver=adjoint("dopri5", tolerance)), digits) for tolerance in (1.0, 1e-3))
    assert tight == loose
    assert tight < memory(through_solver(2), digits)


def test_outliers_do_not_change_the_memory_per_image(digits: Dataset) -> None:
    assert memory(recipe(outliers={"rows": 8, "weight": 1}), digits) == memory(recipe(), digits)


def test_teachers_do_not_change_the_memory_per_image(digits: Dataset) -> None:
    distil = {"teachers": ["runs/teacher"], "temperature": 2, "weight": 0.5}
    assert memory(recipe(distil=distil), digits) == memory(recipe(), digits)


def test_the_times_are_measured_and_the_gradients_are_cleared(digits: Dataset) -> None:
    network = ODENet(digits.normalisation)
    cost = training_cost(network, recipe(), digits.fit.images[:2], digits.fit.labels[:2])
    assert cost.forward > 0
    assert cost.backward > 0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_a_tensor_that_is_saved_twice_counts_once() -> None:
    x = torch.randn(100, requires_grad=True)
    with count_activations() as activations:
        y = x * 2
        z = y.sin() + y.cos() + y[:50].exp().sum()
    assert activations.peak == 100 * 4 + 50 * 4  # y, and the exponentials of half of y
    z.sum().backward()  # type: ignore[no-untyped-call]


def test_a_released_tensor_no_longer_counts() -> None:
    """The peak counts only tensors that are saved at the same time, and it stays when they are released."""
    x = torch.randn(100, requires_grad=True)
    with count_activations() as activations:
        for _ in range(5):
            x.sin().sum().backward()  # type: ignore[no-untyped-call]
        assert activations.peak == 100 * 4
        (x.sin() + (2 * x).sin()).sum().backward()  # type: ignore[no-untyped-call]
    assert activations.peak == 2 * 100 * 4


def test_parameters_and_views_of_parameters_do_not_count() -> None:
    """Autograd may save a parameter itself or a transposed view of it."""
    layers = nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten(), nn.Linear(4, 7), nn.Linear(7, 3))
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    with count_activations() as activations:
        layers(x)
    assert activations.peak == x.nbytes + 2 * 4 * 4 + 2 * 7 * 4
