"""The race: the example is like torchdiffeq's, and the clock stops during validations."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from typer import Typer
from typer.testing import CliRunner

from benchmarks import time_to_error
from benchmarks.time_to_error import Example, Ours, Sample, Solve, race
from models.networks.odenet import Dynamics
from models.solvers.methods import METHODS
from models.solvers.solve import solve
from models.solvers.step import Step
from tests.clock import Clock
from training.data import Dataset, Split
from training.fit import Fit
from training.recipe import RECIPES, read_recipe

pytestmark = pytest.mark.system

BATCH_SECONDS = 0.01
VALIDATION_SECONDS = 0.1


class Idler:
    """A trainer that only uses processor time; its error falls with each epoch."""

    epochs = 6
    batches = 3

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.validations = 0

    def train_epoch(self) -> Iterator[None]:
        for _ in range(self.batches):
            self.clock.advance(BATCH_SECONDS)
            yield

    def validate(self) -> float:
        self.clock.advance(VALIDATION_SECONDS)
        self.validations += 1
        return 0.6 - 0.1 * self.validations


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_to_error, "time", clock)
    return clock


@pytest.fixture
def very_few(few_digits: Dataset) -> Dataset:
    splits = few_digits.fit, few_digits.validation, few_digits.test
    return Dataset("very-few", *(Split(*(column[:8] for column in split)) for split in splits))


def test_the_example_has_as_many_parameters_as_torchdiffeqs(few_digits: Dataset) -> None:
    assert sum(parameter.numel() for parameter in Example(few_digits, 0).network.parameters()) == 208_266


def test_the_example_solves_the_same_equation_as_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ODE-Net of this project with the same weights reaches the same state."""
    monkeypatch.setattr(Solve, "tolerance", 1e-6)
    torch.manual_seed(0)
    theirs, ours = Solve(), Dynamics()
    with torch.no_grad():
        for their, our in ((theirs.conv1.conv, ours.conv1), (theirs.conv2.conv, ours.conv2)):
            our.time_weight.copy_(their.weight[:, :1])
            our.conv.weight.copy_(their.weight[:, 1:])
            assert our.conv.bias is not None
            assert their.bias is not None
            our.conv.bias.copy_(their.bias)
        z = torch.randn(2, 64, 6, 6)
        assert_close(theirs(z), solve(Step(ours, METHODS["dopri5"]), z, rtol=1e-6, atol=1e-6).z, rtol=1e-3, atol=1e-3)


def test_the_example_learns(very_few: Dataset) -> None:
    example = Example(very_few, 0)
    losses = [float(loss) for _ in range(10) for loss in example.train_epoch()]
    assert losses[-1] < 0.9 * losses[0]


def test_the_learning_rate_falls_to_a_tenth_after_given_epochs(
    very_few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Example, "falls", (1, 2))
    example = Example(very_few, 0)
    rates = []
    for _ in range(3):
        rates.append(example.optimiser.param_groups[0]["lr"])
        list(example.train_epoch())
    assert rates == pytest.approx([0.1, 0.01, 0.001])


def test_crops_are_windows_of_the_padded_pictures(few_digits: Dataset) -> None:
    images = few_digits.fit.images
    padded = torch.nn.functional.pad(images, [4] * 4)
    cropped = Example(few_digits, 0).crop(images)
    offsets = [
        [(y, x) for y in range(9) for x in range(9) if torch.equal(picture[y : y + 28, x : x + 28], crop)]
        for picture, crop in zip(padded, cropped, strict=True)
    ]
    assert all(offsets)
    assert len({found[0] for found in offsets}) > 20


def test_the_network_can_be_trained_after_a_validation(very_few: Dataset) -> None:
    example = Example(very_few, 0)
    assert 0 <= example.validate() <= 1
    assert all(parameter.requires_grad for parameter in example.network.parameters())


def test_the_clock_stops_a_trainer_at_its_limit(clock: Clock) -> None:
    *_, last = race(Idler(clock), target=0.0, limit=4.5 * BATCH_SECONDS)
    assert last.seconds == pytest.approx(5 * BATCH_SECONDS)
    assert last.epochs == pytest.approx(5 / 3)
    assert last.error == pytest.approx(0.4)


def test_the_clock_stops_during_validations(clock: Clock) -> None:
    samples = list(race(Idler(clock), target=0.0))
    assert [sample.epochs for sample in samples] == [1, 2, 3, 4, 5, 6]
    assert samples[-1].seconds == pytest.approx(18 * BATCH_SECONDS)


def test_a_trainer_stops_when_it_reaches_the_target(clock: Clock) -> None:
    samples = list(race(Idler(clock), target=0.41))
    assert [sample.error for sample in samples] == pytest.approx([0.5, 0.4])


def test_a_fit_can_race(few_digits: Dataset) -> None:
    recipe = read_recipe(RECIPES / "mlp.toml").model_copy(update={"epochs": 2, "batch_size": 32})
    samples = list(race(Ours(Fit(recipe, few_digits, torch.device("cpu"), 0)), target=-1))
    assert [sample.epochs for sample in samples] == [1, 2]


def test_the_verdict_says_at_least_if_the_example_was_stopped() -> None:
    ours = Sample(10, 3, 0.004)
    assert "took 3.0 times" in time_to_error.verdict(ours, Sample(30, 1, 0.005), 0.005)
    assert "at least 10.0 times" in time_to_error.verdict(ours, Sample(100.1, 2, 0.02), 0.005)


def test_a_recipe_that_does_not_reach_the_target_fails(
    few_digits: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (RECIPES / "mlp.toml").read_text()
    settings = read_recipe(RECIPES / "mlp.toml")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text.replace(f"epochs = {settings.epochs}", "epochs = 1"))
    monkeypatch.setattr(time_to_error, "load", lambda: few_digits)
    app = Typer()
    app.command()(time_to_error.main)
    result = CliRunner().invoke(app, ["--recipe", str(recipe), "--target", "0", "--threads", "1"])
    assert result.exit_code == 1
    assert "without reaching 0.00%" in result.output
