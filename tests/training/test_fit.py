"""The fit: it learns, its chance follows from the seed, and an interrupted one goes on exactly as it would have."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.testing import assert_close

from models.networks.odenet import ODENet
from training import checkpoint
from training.checkpoint import CheckpointError
from training.data import Dataset, Split
from training.fit import CHECKPOINT, CONFIG, METRICS, Fit, load_network, run
from training.recipe import Recipe

CPU = torch.device("cpu")
STILL = {"rotation": 0, "scale": 0, "shear": 0, "shift": 0, "elastic": 0, "control_points": 4}
MOVED = {"rotation": 10, "scale": 0.1, "shear": 0.1, "shift": 1, "elastic": 0.5, "control_points": 4}


def recipe(**changes: Any) -> Recipe:
    """A recipe of two epochs, cheap and with all that is random in it."""
    fields = {
        "system": "odenet",
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 4e-3,
        "weight_decay": 0.01,
        "label_smoothing": 0.0,
        "average_decay": 0.5,
        "precision": "float32",
        "solver": {"method": "midpoint", "steps": (1, 2), "kinetic_penalty": 0.01},
        "validation": {"method": "heun2", "tolerance": 1.0},
        "augmentation": MOVED,
    }
    return Recipe.model_validate({**fields, **changes})


def penalised(penalty: float, *steps: int) -> dict[str, Any]:
    return {"method": "euler", "steps": steps, "kinetic_penalty": penalty}


def silent() -> Console:
    return Console(file=io.StringIO())


class InterruptionError(Exception):
    """In the place of someone's Ctrl-C."""


class Interrupting(io.StringIO):
    """A terminal at which someone interrupts as soon as the first epoch is reported."""

    def write(self, text: str) -> int:
        if "epoch 1/" in text:
            raise InterruptionError
        return super().write(text)


def run_interrupted(fit: Fit, folder: Path) -> None:
    with pytest.raises(InterruptionError):
        run(fit, folder, Console(file=Interrupting(), width=200))


def same(one: nn.Module, other: nn.Module) -> bool:
    """Whether all weights are the same to the last bit."""
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(mine, theirs) for mine, theirs in pairs)


@pytest.fixture(scope="module")
def digits(mnist: Dataset) -> Dataset:
    """96 digits to fit on."""
    splits = ((mnist.fit, 96), (mnist.validation, 40), (mnist.test, 10))
    return Dataset("digits", *(Split(*(column[:rows] for column in split)) for split, rows in splits))


@pytest.fixture(scope="module")
def done(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """A fit of two epochs, and its run folder."""
    fit, folder = Fit(recipe(), digits, CPU, seed=3), tmp_path_factory.mktemp("runs") / "straight"
    run(fit, folder, silent())
    return fit, folder


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def test_it_learns_a_few_digits_by_heart(digits: Dataset) -> None:
    told = recipe(
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
    logits, _ = fit.average.eval()(few.fit.images, "euler", steps=2)
    assert (logits.argmax(1) == few.fit.labels).float().mean() > 0.8


def test_an_interrupted_fit_goes_on_exactly_as_it_would_have(
    digits: Dataset, done: tuple[Fit, Path], tmp_path: Path
) -> None:
    """To the last bit: weights, average, optimiser, schedule; and with one line of metrics for each epoch."""
    straight, straight_folder = done
    run_interrupted(Fit(recipe(), digits, CPU, seed=3), tmp_path)
    assert [line["epoch"] for line in metrics_of(tmp_path)] == [1]
    torch.manual_seed(99)
    resumed = Fit(recipe(), digits, CPU, seed=3)
    torch.manual_seed(98)
    run(resumed, tmp_path, silent(), resume=True)
    assert same(resumed.average, straight.average)
    assert same(resumed.network, straight.network)
    assert_close(resumed.optimiser.state_dict(), straight.optimiser.state_dict(), rtol=0, atol=0)
    assert resumed.schedule.get_last_lr() == straight.schedule.get_last_lr()
    assert resumed.epoch == straight.epoch == 2
    timed = {"seconds", "images_per_second"}
    for line, expected in zip(metrics_of(tmp_path), metrics_of(straight_folder), strict=True):
        assert {k: v for k, v in line.items() if k not in timed} == {
            k: v for k, v in expected.items() if k not in timed
        }


def test_the_second_epoch_matters(digits: Dataset, done: tuple[Fit, Path], tmp_path: Path) -> None:
    """So that the case above is one: after the first epoch, the weights are other ones."""
    run_interrupted(Fit(recipe(), digits, CPU, seed=3), tmp_path)
    network, _ = load_network(tmp_path, CPU)
    assert not same(network, done[0].average.module)


def test_a_finished_fit_that_is_resumed_stays_as_it_is(digits: Dataset, done: tuple[Fit, Path]) -> None:
    fit, folder = done
    before = metrics_of(folder)
    again = Fit(recipe(), digits, CPU, seed=3)
    run(again, folder, silent(), resume=True)
    assert same(again.average, fit.average)
    assert metrics_of(folder) == before


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(digits: Dataset, done: tuple[Fit, Path]) -> None:
    torch.manual_seed(12345)
    again, other = (Fit(recipe(), digits, CPU, seed) for seed in (3, 4))
    assert not same(again.network, other.network)
    for fit in (again, other):
        for _ in range(2):
            list(fit.train_epoch())
    assert same(again.network, done[0].network)
    assert same(again.average, done[0].average)
    assert not same(other.network, done[0].network)


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


def test_the_run_folder_says_how_it_came_about(done: tuple[Fit, Path], digits: Dataset) -> None:
    config = json.loads((done[1] / CONFIG).read_text())
    assert Recipe.model_validate(config.pop("recipe")) == recipe()
    assert config == {
        "seed": 3,
        "dataset": "digits",
        "normalisation": list(digits.normalisation),
        "device": "cpu",
        "torch": torch.__version__,
    }


def test_metrics_have_a_line_for_each_epoch(done: tuple[Fit, Path]) -> None:
    lines = metrics_of(done[1])
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert all(math.isfinite(value) for value in line.values())
        assert 0 <= line["error"] <= 1
        assert line["validation_error"] * 40 == pytest.approx(round(line["validation_error"] * 40))
        assert line["validation_nfe"] >= 2
        assert line["seconds"] > 0
    assert lines[1]["learning_rate"] < lines[0]["learning_rate"], "the schedule ends low"


def test_metrics_are_what_the_network_does(done: tuple[Fit, Path], digits: Dataset) -> None:
    fit, folder = done
    images, labels = digits.validation
    with torch.no_grad():
        logits, solution = fit.average.module.eval()(images, "heun2", tolerance=1.0)
    last = metrics_of(folder)[-1]
    assert last["validation_error"] == pytest.approx(float((logits.argmax(1) != labels).float().mean()))
    assert last["validation_nfe"] == pytest.approx(float(solution.nfe.float().mean()))


def test_tensorboard_reads_the_metrics(done: tuple[Fit, Path]) -> None:
    events = EventAccumulator(str(done[1]))
    events.Reload()
    for name, expected in ((name, [line[name] for line in metrics_of(done[1])]) for name in metrics_of(done[1])[0]):
        scalars = events.Scalars(name)
        assert [scalar.step for scalar in scalars] == [1, 2], name
        assert [scalar.value for scalar in scalars] == pytest.approx(expected, rel=1e-6), name


def test_a_new_fit_does_not_overwrite_an_old_one(digits: Dataset, tmp_path: Path) -> None:
    run_interrupted(Fit(recipe(), digits, CPU, seed=3), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        run(Fit(recipe(), digits, CPU, seed=5), tmp_path, silent())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "other"), [("recipe", {"epochs": 3}), ("recipe", {"learning_rate": 1e-3}), ("seed", {})]
)
def test_a_fit_is_not_resumed_as_another(digits: Dataset, tmp_path: Path, changed: str, other: dict[str, Any]) -> None:
    run_interrupted(Fit(recipe(), digits, CPU, seed=3), tmp_path)
    config = (tmp_path / CONFIG).read_text()
    with pytest.raises(CheckpointError, match=f"another {changed}"):
        run(Fit(recipe(**other), digits, CPU, seed=3 if other else 4), tmp_path, silent(), resume=True)
    assert (tmp_path / CONFIG).read_text() == config


def test_the_fitted_network_is_the_average(done: tuple[Fit, Path]) -> None:
    fit, folder = done
    network, config = load_network(folder, CPU)
    assert same(network, fit.average.module)
    assert not same(network, fit.network)
    assert not network.training
    assert network.stem[0].normalisation == fit.dataset.normalisation
    assert config.seed == 3


def test_the_average_is_the_exponential_one(digits: Dataset) -> None:
    """Of the weights after each batch, and of the first of them as they are."""
    fit = Fit(recipe(average_decay=0.75, solver=penalised(0, 1)), digits, CPU, seed=0)
    expected: dict[str, Tensor] = {}
    for _ in fit.train_epoch():
        now = {name: weight.detach().clone() for name, weight in fit.network.named_parameters()}
        expected = {name: 0.75 * expected.get(name, weight) + 0.25 * weight for name, weight in now.items()}
    assert_close(dict(fit.average.module.named_parameters()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 3])
def test_the_loss_is_cross_entropy_and_kinetic_energy(digits: Dataset, steps: int) -> None:
    """The energy is the integral over t of the mean square of f, here by the rectangles of Euler's steps."""
    penalty = 0.3
    told = recipe(batch_size=96, solver=penalised(penalty, steps), augmentation=STILL, label_smoothing=0.1)
    fit = Fit(told, digits, CPU, seed=2)
    torch.manual_seed(2)
    network = ODENet(digits.normalisation)
    assert same(network, fit.network)
    with torch.no_grad():
        z = network.stem(digits.fit.images)
        energy = torch.tensor(0.0)
        for step in range(steps):
            f = network.dynamics(torch.full((96,), step / steps), z)
            energy += f.square().mean() / steps
            z = z + f / steps
        entropy = F.cross_entropy(network.head(z), digits.fit.labels, label_smoothing=0.1)
    assert energy > 0.1, "the case is not the one it is meant to be"
    (_, loss, _) = next(fit.train_epoch())
    assert_close(loss, entropy + penalty * energy, rtol=1e-4, atol=0)


def test_the_penalty_makes_paths_short(digits: Dataset) -> None:
    energies = []
    for penalty in (0.0, 1.0):
        fit = Fit(recipe(solver=penalised(penalty, 2), epochs=8, learning_rate=2e-2), digits, CPU, seed=0)
        for _ in range(8):
            list(fit.train_epoch())
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


def test_resuming_without_a_checkpoint_is_refused(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        run(Fit(recipe(), digits, CPU, seed=0), tmp_path, silent(), resume=True)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"normalisation": {"mean": 0}}'])
def test_a_run_without_its_config_is_refused(done: tuple[Fit, Path], tmp_path: Path, content: str | None) -> None:
    (tmp_path / CHECKPOINT).write_bytes((done[1] / CHECKPOINT).read_bytes())
    if content is not None:
        (tmp_path / CONFIG).write_text(content)
    with pytest.raises(CheckpointError, match=CONFIG):
        load_network(tmp_path, CPU)


@pytest.mark.parametrize("state", [{}, {"average": {}}, {"average": None}, {"average": {"module.x": torch.ones(1)}}])
def test_a_checkpoint_of_something_else_is_refused(
    done: tuple[Fit, Path], tmp_path: Path, state: checkpoint.State
) -> None:
    (tmp_path / CONFIG).write_bytes((done[1] / CONFIG).read_bytes())
    checkpoint.save(tmp_path / CHECKPOINT, state)
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        load_network(tmp_path, CPU)
