"""The fit: every network learns, and all its chance follows from the seed."""

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


def fitted(told: Recipe, dataset: Dataset, seed: int = 3) -> Fit:
    fit = Fit(told, dataset, CPU, seed)
    for _ in range(told.epochs):
        list(fit.train_epoch())
    return fit


def test_every_network_is_fitted() -> None:
    assert {told.network for told in SYSTEMS.values()} == set(NETWORKS)


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_network_learns(digits: Dataset, system: str) -> None:
    """Of nothing but zeros and ones, from an answer by chance: within six epochs at least that there are no others."""
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
    assert losses[0][0] == pytest.approx(math.log(10), abs=0.7), "a network before its fit knows nothing"
    means = [sum(epoch) / fit.batches for epoch in losses]
    assert max(means[1:]) < means[0]
    assert means[-1] < 0.8
    measured = fit.validate()
    assert 0 < measured.error <= 0.9
    assert (measured.nfe > 0) == (SYSTEMS[system].solver is not None)


def test_it_learns_a_few_digits_by_heart(digits: Dataset) -> None:
    told = recipe(
        network="odenet-strided",
        epochs=25,
        batch_size=12,
        learning_rate=1e-2,
        average_decay=0.8,
        solver=penalised(0.01, 1, 2),
        augmentation=STILL,
    )
    few = Dataset("few", Split(digits.fit.images[:48], digits.fit.labels[:48]), digits.fit, digits.test)
    fit = Fit(told, few, CPU, seed=1)
    losses = [[float(loss) for _, loss, _ in fit.train_epoch()] for _ in range(25)]
    assert losses[0][0] == pytest.approx(math.log(10), abs=0.4), "a network before its fit knows nothing"
    assert sum(losses[-1]) < 0.6 * sum(losses[0])
    logits = fit.average.eval()(few.fit.images, SolverSettings(method="euler", steps=2))
    assert (logits.argmax(1) == few.fit.labels).float().mean() > 0.8


@pytest.mark.parametrize("system", ["mlp", "odenet through the solver", "odenet by the adjoint"])
def test_the_same_seed_gives_the_same_weights_and_another_gives_others(digits: Dataset, system: str) -> None:
    """Whatever is drawn elsewhere meanwhile."""
    told = SYSTEMS[system].model_copy(update={"epochs": 1})
    torch.manual_seed(12345)
    one = fitted(told, digits)
    torch.manual_seed(54321)
    again, other = fitted(told, digits), fitted(told, digits, seed=4)
    assert same(again.network, one.network)
    assert same(again.average, one.average)
    assert not same(other.network, one.network)


def test_epochs_draw_other_orders_and_moves(digits: Dataset) -> None:
    """Without any learning, the losses of two epochs differ, as each has chances of its own."""
    fit = Fit(recipe(learning_rate=1e-12, weight_decay=0, average_decay=0), digits, CPU, seed=0)
    first, second = ([float(loss) for _, loss, _ in fit.train_epoch()] for _ in range(2))
    assert first != second


@pytest.mark.parametrize(("batch_size", "expected"), [(96, [96]), (200, [96]), (40, [40, 40]), (32, [32, 32, 32])])
def test_batches_are_full(digits: Dataset, batch_size: int, expected: list[int]) -> None:
    fit = Fit(recipe(batch_size=batch_size, solver=penalised(0, 1)), digits, CPU, seed=0)
    assert fit.batches == len(expected)
    assert [rows for rows, _, _ in fit.train_epoch()] == expected


def test_the_average_is_the_exponential_one(digits: Dataset) -> None:
    """Of the weights after each batch, and of the first of them as they are."""
    fit = Fit(recipe(average_decay=0.75, solver=penalised(0, 1)), digits, CPU, seed=0)
    expected: dict[str, Tensor] = {}
    for _ in fit.train_epoch():
        now = {name: weight.detach().clone() for name, weight in fit.network.named_parameters()}
        expected = {name: 0.75 * expected.get(name, weight) + 0.25 * weight for name, weight in now.items()}
    assert_close(dict(fit.average.module.named_parameters()), expected, rtol=1e-5, atol=1e-6)


def test_the_penalty_makes_paths_short(digits: Dataset) -> None:
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


def test_bfloat16_trains_weights_of_single_precision(digits: Dataset) -> None:
    fit = Fit(recipe(precision="bfloat16", solver=penalised(0.01, 1)), digits, CPU, seed=0)
    exact = Fit(recipe(solver=penalised(0.01, 1)), digits, CPU, seed=0)
    losses, expected = ([float(loss) for _, loss, _ in each.train_epoch()] for each in (fit, exact))
    assert losses != expected
    assert losses[0] == pytest.approx(expected[0], rel=0.02)
    assert {parameter.dtype for parameter in fit.network.parameters()} == {torch.float32}


def test_outliers_are_answered_with_less_certainty(digits: Dataset) -> None:
    """By a network that is fitted on some; and without any nothing is said of them."""
    told = recipe(network="odenet-strided", epochs=8, learning_rate=1e-2, solver=penalised(0.01, 1))
    exposed = told.model_copy(update={"outliers": OutlierExposure(rows=16, weight=1)})
    plain, unsure = fitted(told, digits), fitted(exposed, digits)
    assert plain.validate().outlier_confidence is None
    now = unsure.validate().outlier_confidence
    unsure.average.load_state_dict(plain.average.state_dict())
    before = unsure.validate().outlier_confidence
    assert now is not None
    assert before is not None
    assert 0.1 <= now < 0.75 * before


def test_synthetic_digits_are_learnt_beside_the_others(digits: Dataset) -> None:
    """A batch has as many more rows, and labels, as the recipe says."""
    told = without_ode("mlp", synthetic={"rows": 16}, outliers={"rows": 8, "weight": 0.5})
    fit = Fit(told, digits, CPU, seed=0)
    assert [rows for rows, _, _ in fit.train_epoch()] == [32 + 16] * 3


def test_the_network_stretches_levels_as_the_recipe_says(digits: Dataset) -> None:
    fit = Fit(without_ode("mlp", levels="stretched"), digits, CPU, seed=0)
    assert fit.normalisation == digits.normalisation._replace(levels="stretched")
    images = digits.validation.images.float()
    assert_close(fit.network(100 + images / 4), fit.network(images), rtol=1e-3, atol=1e-3)


def test_the_same_seed_draws_the_same_outliers(digits: Dataset) -> None:
    told = recipe(epochs=1, outliers={"rows": 8, "weight": 0.5})
    one, again = fitted(told, digits), fitted(told, digits)
    assert same(again.network, one.network)


def test_epochs_draw_other_outliers(digits: Dataset) -> None:
    """Whatever the digits: without any learning, and with the same of them in each batch, the losses differ."""
    told = recipe(learning_rate=1e-12, weight_decay=0, augmentation=STILL, solver=penalised(0, 1), batch_size=96)
    losses = {}
    for outliers in (None, {"rows": 32, "weight": 5}):
        fit = Fit(Recipe.model_validate({**told.model_dump(), "outliers": outliers}), digits, CPU, seed=0)
        losses[outliers is None] = [float(loss) for _ in range(2) for _, loss, _ in fit.train_epoch()]
    assert losses[True][0] == pytest.approx(losses[True][1], rel=1e-6)
    assert losses[False][0] != pytest.approx(losses[False][1], rel=1e-5)
