"""The fit: every network learns, and the seed determines all random numbers."""

import math

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.settings import SolverSettings
from tests.training.fits import CPU, STILL, adjoint, penalised, recipe, same, without_ode
from training.data import Dataset, Split
from training.fit import Fit
from training.recipe import OutlierExposure, Recipe

pytestmark = pytest.mark.system

SYSTEMS = {
    "mlp": without_ode("mlp"),
    "resnet": without_ode("resnet"),
    "odenet through the solver": recipe(),
    "odenet by the adjoint": recipe(solver=adjoint()),
    "odenet-strided": recipe(network="odenet-strided", solver=penalised(0.01, 1, 2)),
    "odenet-wide": recipe(network="odenet-wide", solver=penalised(0.01, 1)),
    "stem-only": without_ode("stem-only"),
}


def fitted(fit_recipe: Recipe, dataset: Dataset, seed: int = 3) -> Fit:
    fit = Fit(fit_recipe, dataset, CPU, seed)
    for _ in range(fit_recipe.epochs):
        list(fit.train_epoch())
    return fit


def test_every_network_is_fitted() -> None:
    assert {fit_recipe.network for fit_recipe in SYSTEMS.values()} == set(NETWORKS)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_network_learns(digits: Dataset, system: str) -> None:
    """The dataset contains only zeros and ones. In six epochs a network learns at least that there are no others."""
    of_two = digits.fit.labels < 2
    few = Dataset("few", Split(*(column[of_two] for column in digits.fit)), digits.validation, digits.test)
    changes = {
        "epochs": 6,
        "batch_size": 4,
        "learning_rate": 1e-2,
        "augmentation": recipe(augmentation=STILL).augmentation,
    }
    fit = Fit(SYSTEMS[system].model_copy(update=changes), few, CPU, seed=1)
    losses = [[float(loss) for _, loss, _ in fit.train_epoch()] for _ in range(6)]
    assert losses[0][0] == pytest.approx(math.log(10), abs=0.7), "before a fit, all classes are equally probable"
    means = [sum(epoch) / fit.batches for epoch in losses]
    assert max(means[1:]) < means[0]
    assert means[-1] < 0.8
    measured = fit.validate()
    assert 0 < measured.error <= 0.9
    assert (measured.nfe > 0) == (SYSTEMS[system].solver is not None)


def test_a_fit_memorises_a_few_digits(digits: Dataset) -> None:
    fit_recipe = recipe(
        network="odenet-strided",
        epochs=25,
        batch_size=12,
        learning_rate=1e-2,
        average_decay=0.8,
        solver=penalised(0.01, 1, 2),
        augmentation=STILL,
    )
    few = Dataset("few", Split(digits.fit.images[:48], digits.fit.labels[:48]), digits.fit, digits.test)
    fit = Fit(fit_recipe, few, CPU, seed=1)
    losses = [[float(loss) for _, loss, _ in fit.train_epoch()] for _ in range(25)]
    assert losses[0][0] == pytest.approx(math.log(10), abs=0.4), "before a fit, all classes are equally probable"
    assert sum(losses[-1]) < 0.6 * sum(losses[0])
    logits = fit.average.eval()(few.fit.images, SolverSettings(method="euler", steps=2))
    assert (logits.argmax(1) == few.fit.labels).float().mean() > 0.8


@pytest.mark.parametrize("system", ["mlp", "odenet through the solver", "odenet by the adjoint"])
def test_the_seed_determines_the_weights(digits: Dataset, system: str) -> None:
    """The global generator has no influence."""
    fit_recipe = SYSTEMS[system].model_copy(update={"epochs": 1})
    torch.manual_seed(12345)
    one = fitted(fit_recipe, digits)
    torch.manual_seed(54321)
    again, other = fitted(fit_recipe, digits), fitted(fit_recipe, digits, seed=4)
    assert same(again.network, one.network)
    assert same(again.average, one.average)
    assert not same(other.network, one.network)


def test_every_epoch_draws_another_order_and_augmentation(digits: Dataset) -> None:
    """The learning rate is almost zero, so only the random numbers of the epochs can change the losses."""
    fit = Fit(recipe(learning_rate=1e-12, weight_decay=0, average_decay=0), digits, CPU, seed=0)
    first, second = ([float(loss) for _, loss, _ in fit.train_epoch()] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(("batch_size", "expected"), [(96, [96]), (200, [96]), (40, [40, 40]), (32, [32, 32, 32])])
def test_every_batch_is_full(digits: Dataset, batch_size: int, expected: list[int]) -> None:
    fit = Fit(recipe(batch_size=batch_size, solver=penalised(0, 1)), digits, CPU, seed=0)
    assert fit.batches == len(expected)
    assert [rows for rows, _, _ in fit.train_epoch()] == expected


def test_the_average_is_the_exponential_moving_average(digits: Dataset) -> None:
    """The average covers the weights after each batch, from the first batch on."""
    fit = Fit(recipe(average_decay=0.75, solver=penalised(0, 1)), digits, CPU, seed=0)
    expected: dict[str, Tensor] = {}
    for _ in fit.train_epoch():
        now = {name: weight.detach().clone() for name, weight in fit.network.named_parameters()}
        expected = {name: 0.75 * expected.get(name, weight) + 0.25 * weight for name, weight in now.items()}
    assert_close(dict(fit.average.module.named_parameters()), expected, rtol=1e-5, atol=1e-6)


def test_the_kinetic_penalty_makes_paths_shorter(digits: Dataset) -> None:
    energies = []
    for penalty in (0.0, 1.0):
        fit = Fit(
            recipe(network="odenet-strided", solver=penalised(penalty, 2), epochs=8, learning_rate=2e-2),
            digits,
            CPU,
            seed=0,
        )
        for _ in range(8):
            list(fit.train_epoch())
        assert isinstance(fit.network, ODENet)
        with torch.no_grad():
            z = fit.network.stem(digits.validation.images)
            energies.append(float(fit.network.dynamics(torch.zeros(len(z)), z).square().mean()))
    assert energies[1] < 0.6 * energies[0]


def test_a_fit_in_bfloat16_has_weights_in_float32(digits: Dataset) -> None:
    fit = Fit(recipe(precision="bfloat16", solver=penalised(0.01, 1)), digits, CPU, seed=0)
    exact = Fit(recipe(solver=penalised(0.01, 1)), digits, CPU, seed=0)
    losses, expected = ([float(loss) for _, loss, _ in each.train_epoch()] for each in (fit, exact))
    assert losses != expected
    assert losses[0] == pytest.approx(expected[0], rel=0.02)
    assert {parameter.dtype for parameter in fit.network.parameters()} == {torch.float32}


def test_a_fit_with_outliers_lowers_their_greatest_probability(digits: Dataset) -> None:
    """A fit without outliers does not measure this probability."""
    fit_recipe = recipe(network="odenet-strided", epochs=8, learning_rate=1e-2, solver=penalised(0.01, 1))
    exposed = fit_recipe.model_copy(update={"outliers": OutlierExposure(rows=16, weight=1)})
    plain, unsure = fitted(fit_recipe, digits), fitted(exposed, digits)
    assert plain.validate().outlier_confidence is None
    now = unsure.validate().outlier_confidence
    unsure.average.load_state_dict(plain.average.state_dict())
    before = unsure.validate().outlier_confidence
    assert now is not None
    assert before is not None
    assert 0.1 <= now < 0.75 * before


def test_synthetic_digits_are_added_to_each_batch(digits: Dataset) -> None:
    """Synthetic digits have labels, so they count as digits; outliers do not."""
    fit_recipe = without_ode("mlp", synthetic={"rows": 16}, outliers={"rows": 8, "weight": 0.5})
    fit = Fit(fit_recipe, digits, CPU, seed=0)
    assert [rows for rows, _, _ in fit.train_epoch()] == [32 + 16] * 3


def test_the_network_stretches_levels_if_the_recipe_says_so(digits: Dataset) -> None:
    fit = Fit(without_ode("mlp", levels="stretched"), digits, CPU, seed=0)
    assert fit.normalisation == digits.normalisation._replace(levels="stretched")
    images = digits.validation.images.float()
    assert_close(fit.network(100 + images / 4), fit.network(images), rtol=1e-3, atol=1e-3)


def test_a_fit_with_outliers_gives_the_same_weights_for_the_same_seed(digits: Dataset) -> None:
    fit_recipe = recipe(epochs=1, outliers={"rows": 8, "weight": 0.5})
    one, again = fitted(fit_recipe, digits), fitted(fit_recipe, digits)
    assert same(again.network, one.network)


def test_every_epoch_draws_other_outliers(digits: Dataset) -> None:
    """Every batch has the same digits and the learning rate is almost zero, so only outliers can change the losses."""
    fit_recipe = recipe(learning_rate=1e-12, weight_decay=0, augmentation=STILL, solver=penalised(0, 1), batch_size=96)
    losses = {}
    for outliers in (None, {"rows": 32, "weight": 5}):
        fit = Fit(Recipe.model_validate({**fit_recipe.model_dump(), "outliers": outliers}), digits, CPU, seed=0)
        losses[outliers is None] = [float(loss) for _ in range(2) for _, loss, _ in fit.train_epoch()]
    assert losses[True][0] == pytest.approx(losses[True][1], rel=1e-6)
    assert losses[False][0] != pytest.approx(losses[False][1], rel=1e-5)
