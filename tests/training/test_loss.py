"""The loss: cross entropy, and what the training solver adds to it."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.settings import SolverSettings
from tests.training.fits import CPU, adjoint, penalised, recipe, without_ode
from training.data import Dataset
from training.loss import training_loss
from training.recipe import Recipe

EXPOSURE = {"rows": 16, "weight": 0.3}


def loss_of(network: torch.nn.Module, told: Recipe, dataset: Dataset, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(CPU).manual_seed(seed)
    return training_loss(network, told, dataset.fit.images, dataset.fit.labels, generator)


def size_of_loss(network: ODENet, told: Recipe, dataset: Dataset, seed: int = 0) -> float:
    with torch.no_grad():
        return float(loss_of(network, told, dataset, seed)[0])


@pytest.fixture
def network(digits: Dataset) -> ODENet:
    torch.manual_seed(2)
    return ODENet(digits.normalisation)


@pytest.mark.parametrize("name", ["mlp", "resnet", "stem-only"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_a_solver_it_is_the_cross_entropy(digits: Dataset, name: str, smoothing: float) -> None:
    told = without_ode(name, label_smoothing=smoothing)
    network = NETWORKS[told.network](digits.normalisation)
    expected = network(digits.fit.images)
    loss, logits = loss_of(network, told, digits)
    assert_close(logits, expected)
    assert_close(loss, F.cross_entropy(expected, digits.fit.labels, label_smoothing=smoothing))


@pytest.mark.parametrize("steps", [1, 3])
def test_through_the_solver_it_is_cross_entropy_and_kinetic_energy(
    digits: Dataset, network: ODENet, steps: int
) -> None:
    """The energy is the integral over t of the mean square of f, here by the rectangles of Euler's steps."""
    penalty = 0.3
    with torch.no_grad():
        z = network.stem(digits.fit.images)
        energy = torch.tensor(0.0)
        for step in range(steps):
            f = network.dynamics(torch.full((96,), step / steps), z)
            energy += f.square().mean() / steps
            z = z + f / steps
        entropy = F.cross_entropy(network.head(z), digits.fit.labels, label_smoothing=0.1)
    assert energy > 0.1, "the case is not the one it is meant to be"
    loss, logits = loss_of(network, recipe(solver=penalised(penalty, steps), label_smoothing=0.1), digits)
    assert_close(loss, entropy + penalty * energy, rtol=1e-4, atol=0)
    assert_close(logits, network.head(z), rtol=1e-3, atol=1e-4)


def test_of_several_stages_the_energy_is_that_of_the_first(digits: Dataset, network: ODENet) -> None:
    """Of one step of rk4 it is the mean square of f at t = 0."""
    plain, penalised = (
        loss_of(
            network, recipe(solver={"gradient": "solver", "method": "rk4", "steps": [1], "kinetic_penalty": p}), digits
        )
        for p in (0.0, 2.0)
    )
    energy = network.dynamics(torch.zeros(96), network.stem(digits.fit.images)).square().mean()
    assert_close(penalised[0] - plain[0], 2 * energy, rtol=1e-3, atol=0)


def test_the_energy_is_differentiated(digits: Dataset, network: ODENet) -> None:
    """Weights that the way to the state depends on are moved by it, and the head is not."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    without, with_penalty = (
        torch.autograd.grad(loss_of(network, recipe(solver=penalised(penalty, 1)), digits)[0], parameters)
        for penalty in (0.0, 1.0)
    )
    pairs = zip(names, without, with_penalty, strict=True)
    moved = {name for name, one, other in pairs if not torch.equal(one, other)}
    assert "dynamics.conv1.conv.weight" in moved
    assert not any(name.startswith("head") for name in moved)


def test_the_number_of_steps_is_drawn_by_the_generator(few_digits: Dataset, network: ODENet) -> None:
    by_steps = [size_of_loss(network, recipe(solver=penalised(0.1, steps)), few_digits) for steps in (1, 2, 3)]
    drawn, again = (
        [size_of_loss(network, recipe(solver=penalised(0.1, 1, 2, 3)), few_digits, seed) for seed in range(12)]
        for _ in range(2)
    )
    assert set(drawn) == set(by_steps)
    assert drawn == again


def test_by_the_adjoint_it_is_the_cross_entropy_of_the_adaptive_solve(digits: Dataset, network: ODENet) -> None:
    loss, logits = loss_of(network, recipe(solver=adjoint("bosh3", 1e-2)), digits)
    expected = network(digits.fit.images, SolverSettings.adaptive("bosh3", 1e-2))
    assert_close(logits, expected, rtol=0, atol=0)
    assert_close(loss, F.cross_entropy(expected, digits.fit.labels))


def test_by_the_adjoint_its_gradient_is_nearly_that_through_the_solver(digits: Dataset, network: ODENet) -> None:
    """The direction of all weights at once, which is what an optimiser follows."""
    parameters, images, labels = tuple(network.parameters()), digits.fit.images[:8], digits.fit.labels[:8]
    logits = network(images, SolverSettings.adaptive("bosh3", 1e-3))
    direct = torch.autograd.grad(F.cross_entropy(logits, labels), parameters)
    told = recipe(solver=adjoint("bosh3", 1e-3))
    loss, _ = training_loss(network, told, images, labels, torch.Generator(CPU).manual_seed(0))
    one, other = (
        torch.cat([gradient.flatten() for gradient in each]) for each in (direct, torch.autograd.grad(loss, parameters))
    )
    assert not torch.equal(one, other)
    assert float((one - other).norm() / one.norm()) < 0.15


def test_outliers_add_the_divergence_of_their_answers_from_the_uniform_one(digits: Dataset) -> None:
    """Of the last rows, which have no label and no place among the logits."""
    torch.manual_seed(2)
    told = without_ode("mlp", outliers=EXPOSURE)
    network = NETWORKS[told.network](digits.normalisation)
    answers, labels = network(digits.fit.images), digits.fit.labels[:80]
    uniform = torch.full((16, 10), 0.1)
    divergence = F.kl_div(F.log_softmax(answers[80:], dim=1), uniform, reduction="batchmean")
    loss, logits = training_loss(network, told, digits.fit.images, labels, torch.Generator(CPU))
    assert_close(logits, answers[:80])
    assert_close(loss, F.cross_entropy(answers[:80], labels) + EXPOSURE["weight"] * divergence)


def test_no_certainty_of_outliers_costs_nothing(digits: Dataset) -> None:
    told = without_ode("mlp", outliers=EXPOSURE)
    network = NETWORKS[told.network](digits.normalisation)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    loss, _ = training_loss(network, told, digits.fit.images, digits.fit.labels[:80], torch.Generator(CPU))
    assert loss.item() == pytest.approx(math.log(10))


def test_through_the_solver_the_energy_is_of_digits_and_outliers(few_digits: Dataset, network: ODENet) -> None:
    """And a fit that is shown outliers needs some."""
    plain, exposed = recipe(solver=penalised(0.3, 1)), recipe(solver=penalised(0.3, 1), outliers=EXPOSURE)
    labels, generator = few_digits.fit.labels[:48], torch.Generator(CPU)
    with torch.no_grad():
        loss, logits = training_loss(network, exposed, few_digits.fit.images, labels, generator)
        whole, all_logits = loss_of(network, plain, few_digits)
        energy = whole - F.cross_entropy(all_logits, few_digits.fit.labels)
        divergence = -F.log_softmax(all_logits[48:], dim=1).mean() - math.log(10)
        assert_close(loss, F.cross_entropy(all_logits[:48], labels) + energy + EXPOSURE["weight"] * divergence)
    assert_close(logits, all_logits[:48])


@pytest.mark.parametrize("told", [without_ode(outliers=None), without_ode(outliers=EXPOSURE)], ids=["none", "some"])
def test_images_that_are_not_what_the_recipe_has_are_refused(digits: Dataset, told: Recipe) -> None:
    network = NETWORKS[told.network](digits.normalisation)
    labels = digits.fit.labels if told.outliers else digits.fit.labels[:80]
    with pytest.raises(ValueError, match=rf"images: 96 for {len(labels)} labels; the recipe's outliers: "):
        training_loss(network, told, digits.fit.images, labels, torch.Generator(CPU))


@pytest.mark.parametrize(
    "told",
    [without_ode("mlp"), recipe(solver=penalised(0.01, 1)), recipe(solver=adjoint())],
    ids=["no solver", "solver", "adjoint"],
)
def test_in_bfloat16_loss_and_gradients_are_of_single_precision(digits: Dataset, told: Recipe) -> None:
    torch.manual_seed(2)
    network = NETWORKS[told.network](digits.normalisation)
    exact, _ = loss_of(network, told, digits)
    loss, logits = loss_of(network, told.model_copy(update={"precision": "bfloat16"}), digits)
    assert loss != exact
    assert_close(loss, exact, rtol=0.02, atol=0)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert {tensor.dtype for tensor in (loss, logits, *gradients) if tensor is not None} == {torch.float32}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
