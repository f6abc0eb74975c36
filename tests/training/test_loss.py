"""The loss: the cross entropy, and the terms for the training solver and for outliers."""

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


def loss_of(network: torch.nn.Module, fit_recipe: Recipe, dataset: Dataset, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator(CPU).manual_seed(seed)
    return training_loss(network, fit_recipe, dataset.fit.images, dataset.fit.labels, generator)


def loss_value(network: ODENet, fit_recipe: Recipe, dataset: Dataset, seed: int = 0) -> float:
    with torch.no_grad():
        return float(loss_of(network, fit_recipe, dataset, seed)[0])


@pytest.fixture
def network(digits: Dataset) -> ODENet:
    torch.manual_seed(2)
    return ODENet(digits.normalisation)


@pytest.mark.parametrize("name", ["mlp", "resnet", "stem-only"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_without_a_solver_is_the_cross_entropy(digits: Dataset, name: str, smoothing: float) -> None:
    fit_recipe = without_ode(name, label_smoothing=smoothing)
    network = NETWORKS[fit_recipe.network](digits.normalisation)
    expected = network(digits.fit.images)
    loss, logits = loss_of(network, fit_recipe, digits)
    assert_close(logits, expected)
    assert_close(loss, F.cross_entropy(expected, digits.fit.labels, label_smoothing=smoothing))


@pytest.mark.parametrize("steps", [1, 3])
def test_the_loss_through_the_solver_is_cross_entropy_and_kinetic_energy(
    digits: Dataset, network: ODENet, steps: int
) -> None:
    """The energy is the integral over t of the mean square of f. Euler steps approximate it with rectangles."""
    penalty = 0.3
    with torch.no_grad():
        z = network.stem(digits.fit.images)
        energy = torch.tensor(0.0)
        for step in range(steps):
            f = network.dynamics(torch.full((96,), step / steps), z)
            energy += f.square().mean() / steps
            z = z + f / steps
        entropy = F.cross_entropy(network.head(z), digits.fit.labels, label_smoothing=0.1)
    assert energy > 0.1, "this test needs an energy that is not near zero"
    loss, logits = loss_of(network, recipe(solver=penalised(penalty, steps), label_smoothing=0.1), digits)
    assert_close(loss, entropy + penalty * energy, rtol=1e-4, atol=0)
    assert_close(logits, network.head(z), rtol=1e-3, atol=1e-4)


def test_the_energy_uses_the_first_stage_of_a_step(digits: Dataset, network: ODENet) -> None:
    """The energy of one step of rk4 is the mean square of f at t = 0."""
    plain, penalised = (
        loss_of(
            network, recipe(solver={"gradient": "solver", "method": "rk4", "steps": [1], "kinetic_penalty": p}), digits
        )
        for p in (0.0, 2.0)
    )
    energy = network.dynamics(torch.zeros(96), network.stem(digits.fit.images)).square().mean()
    assert_close(penalised[0] - plain[0], 2 * energy, rtol=1e-3, atol=0)


def test_a_loose_solve_is_pulled_towards_the_training_solve(digits: Dataset, network: ODENet) -> None:
    """The term is the mean of KL(training solve || one midpoint step), times its weight."""
    plain, consistent = (
        loss_of(
            network,
            recipe(
                solver={
                    "gradient": "solver",
                    "method": "rk4",
                    "steps": [2],
                    "kinetic_penalty": 0,
                    "consistency": weight,
                }
            ),
            digits,
        )
        for weight in (0.0, 3.0)
    )
    with torch.no_grad():
        tight = network(digits.fit.images, SolverSettings(method="rk4", steps=2)).softmax(1)
        loose = network(digits.fit.images, SolverSettings(method="midpoint", steps=1)).softmax(1)
        divergence = (tight * (tight / loose).log()).sum(1).mean()
    assert divergence > 1e-6, "this test needs two solves that differ"
    assert_close(consistent[0] - plain[0], 3 * divergence, rtol=1e-2, atol=1e-6)


def test_the_energy_has_a_gradient(digits: Dataset, network: ODENet) -> None:
    """The penalty changes the gradients of the dynamics, but not those of the head."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    without, with_penalty = (
        torch.autograd.grad(loss_of(network, recipe(solver=penalised(penalty, 1)), digits)[0], parameters)
        for penalty in (0.0, 1.0)
    )
    pairs = zip(names, without, with_penalty, strict=True)
    changed = {name for name, one, other in pairs if not torch.equal(one, other)}
    assert "dynamics.conv1.conv.weight" in changed
    assert not any(name.startswith("head") for name in changed)


def test_the_generator_draws_the_number_of_steps(few_digits: Dataset, network: ODENet) -> None:
    by_steps = [loss_value(network, recipe(solver=penalised(0.1, steps)), few_digits) for steps in (1, 2, 3)]
    drawn, again = (
        [loss_value(network, recipe(solver=penalised(0.1, 1, 2, 3)), few_digits, seed) for seed in range(12)]
        for _ in range(2)
    )
    assert set(drawn) == set(by_steps)
    assert drawn == again


def test_the_loss_with_the_adjoint_is_the_cross_entropy_of_the_adaptive_solve(digits: Dataset, network: ODENet) -> None:
    loss, logits = loss_of(network, recipe(solver=adjoint("bosh3", 1e-2)), digits)
    expected = network(digits.fit.images, SolverSettings.adaptive("bosh3", 1e-2))
    assert_close(logits, expected, rtol=0, atol=0)
    assert_close(loss, F.cross_entropy(expected, digits.fit.labels))


def test_the_gradient_of_the_adjoint_is_near_the_gradient_through_the_solver(digits: Dataset, network: ODENet) -> None:
    """The test compares the gradient of all weights as one vector, because an optimiser follows its direction."""
    parameters, images, labels = tuple(network.parameters()), digits.fit.images[:8], digits.fit.labels[:8]
    logits = network(images, SolverSettings.adaptive("bosh3", 1e-3))
    direct = torch.autograd.grad(F.cross_entropy(logits, labels), parameters)
    fit_recipe = recipe(solver=adjoint("bosh3", 1e-3))
    loss, _ = training_loss(network, fit_recipe, images, labels, torch.Generator(CPU).manual_seed(0))
    one, other = (
        torch.cat([gradient.flatten() for gradient in each]) for each in (direct, torch.autograd.grad(loss, parameters))
    )
    assert not torch.equal(one, other)
    assert float((one - other).norm() / one.norm()) < 0.15


def test_outliers_add_the_divergence_of_their_probabilities_from_the_uniform_distribution(digits: Dataset) -> None:
    """The outliers are the last rows. They have no labels, and the returned logits do not contain them."""
    torch.manual_seed(2)
    fit_recipe = without_ode("mlp", outliers=EXPOSURE)
    network = NETWORKS[fit_recipe.network](digits.normalisation)
    answers, labels = network(digits.fit.images), digits.fit.labels[:80]
    uniform = torch.full((16, 10), 0.1)
    divergence = F.kl_div(F.log_softmax(answers[80:], dim=1), uniform, reduction="batchmean")
    loss, logits = training_loss(network, fit_recipe, digits.fit.images, labels, torch.Generator(CPU))
    assert_close(logits, answers[:80])
    assert_close(loss, F.cross_entropy(answers[:80], labels) + EXPOSURE["weight"] * divergence)


def test_uniform_probabilities_of_outliers_add_no_loss(digits: Dataset) -> None:
    fit_recipe = without_ode("mlp", outliers=EXPOSURE)
    network = NETWORKS[fit_recipe.network](digits.normalisation)
    for parameter in network.parameters():
        nn.init.zeros_(parameter)
    loss, _ = training_loss(network, fit_recipe, digits.fit.images, digits.fit.labels[:80], torch.Generator(CPU))
    assert loss.item() == pytest.approx(math.log(10))


def test_the_energy_is_a_mean_over_digits_and_outliers(few_digits: Dataset, network: ODENet) -> None:
    """The loss adds this energy, the cross entropy of the digits and the divergence of the outliers."""
    plain, exposed = recipe(solver=penalised(0.3, 1)), recipe(solver=penalised(0.3, 1), outliers=EXPOSURE)
    labels, generator = few_digits.fit.labels[:48], torch.Generator(CPU)
    with torch.no_grad():
        loss, logits = training_loss(network, exposed, few_digits.fit.images, labels, generator)
        whole, all_logits = loss_of(network, plain, few_digits)
        energy = whole - F.cross_entropy(all_logits, few_digits.fit.labels)
        divergence = -F.log_softmax(all_logits[48:], dim=1).mean() - math.log(10)
        assert_close(loss, F.cross_entropy(all_logits[:48], labels) + energy + EXPOSURE["weight"] * divergence)
    assert_close(logits, all_logits[:48])


@pytest.mark.parametrize(
    "fit_recipe", [without_ode(outliers=None), without_ode(outliers=EXPOSURE)], ids=["none", "some"]
)
def test_outliers_that_the_recipe_does_not_have_and_missing_outliers_are_refused(
    digits: Dataset, fit_recipe: Recipe
) -> None:
    network = NETWORKS[fit_recipe.network](digits.normalisation)
    labels = digits.fit.labels if fit_recipe.outliers else digits.fit.labels[:80]
    with pytest.raises(ValueError, match=rf"images: 96 for {len(labels)} labels, but the recipe's outliers are "):
        training_loss(network, fit_recipe, digits.fit.images, labels, torch.Generator(CPU))


@pytest.mark.parametrize(
    "fit_recipe",
    [without_ode("mlp"), recipe(solver=penalised(0.01, 1)), recipe(solver=adjoint())],
    ids=["no solver", "solver", "adjoint"],
)
def test_the_loss_and_the_gradients_in_bfloat16_are_float32(digits: Dataset, fit_recipe: Recipe) -> None:
    torch.manual_seed(2)
    network = NETWORKS[fit_recipe.network](digits.normalisation)
    exact, _ = loss_of(network, fit_recipe, digits)
    loss, logits = loss_of(network, fit_recipe.model_copy(update={"precision": "bfloat16"}), digits)
    assert loss != exact
    assert_close(loss, exact, rtol=0.02, atol=0)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert {tensor.dtype for tensor in (loss, logits, *gradients) if tensor is not None} == {torch.float32}
    assert all(gradient is not None and torch.isfinite(gradient).all() for gradient in gradients)
