"""The run: the content of its folder, and a resumed run that gives exactly the same result as an uninterrupted run."""

import io
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors import SafetensorError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.testing import assert_close

from models.artifact import METRICS
from models.backends.protocol import classify
from models.backends.torch import TorchBackend
from models.networks.mlp import MLP
from models.solvers.settings import SolverSettings
from tests.training.fits import CHANGED, CPU, adjoint, recipe, same, silent, without_ode
from training import checkpoint
from training.checkpoint import CheckpointError
from training.data import Dataset
from training.fit import Fit
from training.recipe import Recipe
from training.run import CHECKPOINT, CONFIG, load_config, load_network, run

pytestmark = pytest.mark.system


class InterruptionError(Exception):
    """Stands for Ctrl-C."""


class Interrupting(io.StringIO):
    """An output that raises an interruption as soon as the first epoch is reported."""

    def write(self, text: str) -> int:
        if "epoch 1/" in text:
            raise InterruptionError
        return super().write(text)


def run_interrupted(fit: Fit, folder: Path) -> None:
    with pytest.raises(InterruptionError):
        run(fit, folder, Console(file=Interrupting(), width=200))


@pytest.fixture(scope="module")
def done(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """A finished fit of two epochs, and its run folder."""
    fit, folder = Fit(recipe(), digits, CPU, seed=3), tmp_path_factory.mktemp("runs") / "straight"
    run(fit, folder, silent())
    return fit, folder


@pytest.fixture(scope="module")
def interrupted_once(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fit that was interrupted after the first of two epochs. Tests must not change it."""
    folder = tmp_path_factory.mktemp("runs") / "interrupted"
    run_interrupted(Fit(recipe(), digits, CPU, seed=3), folder)
    return folder


@pytest.fixture
def interrupted(interrupted_once: Path, tmp_path: Path) -> Path:
    """The run folder of a fit that was interrupted after the first of two epochs. A test may change it."""
    folder = tmp_path / "interrupted"
    shutil.copytree(interrupted_once, folder)
    return folder


def printed(console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def metrics_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def untimed(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run that do not depend on the speed of the machine."""
    timed = {"seconds", "images_per_second"}
    return [{name: value for name, value in line.items() if name not in timed} for line in metrics_of(folder)]


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    """The steps and values of a metric that TensorBoard reads."""
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(scalar.step, scalar.value) for scalar in events.Scalars(name)]


def test_a_resumed_fit_gives_exactly_the_same_result(
    digits: Dataset, done: tuple[Fit, Path], interrupted: Path
) -> None:
    """Weights, average, optimiser and schedule are equal to the last bit, and each epoch has one line of metrics."""
    straight, straight_folder = done
    assert [line["epoch"] for line in metrics_of(interrupted)] == [1]
    torch.manual_seed(99)
    resumed = Fit(recipe(), digits, CPU, seed=3)
    torch.manual_seed(98)
    run(resumed, interrupted, silent(), resume=True)
    assert same(resumed.average, straight.average)
    assert same(resumed.network, straight.network)
    assert_close(resumed.optimiser.state_dict(), straight.optimiser.state_dict(), rtol=0, atol=0)
    assert resumed.schedule.get_last_lr() == straight.schedule.get_last_lr()
    assert resumed.epoch == straight.epoch == 2
    assert untimed(interrupted) == untimed(straight_folder)


@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_stops_before_its_checkpoint_repeats_the_epoch(
    digits: Dataset, done: tuple[Fit, Path], interrupted: Path, tmp_path: Path, epochs: int
) -> None:
    """The run completes some epochs. Then it writes a line of metrics, but cannot write the checkpoint."""
    folder = interrupted if epochs else tmp_path / "new"
    in_the_way = (folder / CHECKPOINT).with_suffix(".partial")
    in_the_way.mkdir(parents=True)
    with pytest.raises(SafetensorError):
        run(Fit(recipe(), digits, CPU, seed=3), folder, silent(), resume=epochs > 0)
    assert [line["epoch"] for line in metrics_of(folder)] == list(range(1, epochs + 2))
    in_the_way.rmdir()
    run(Fit(recipe(), digits, CPU, seed=3), folder, silent(), resume=epochs > 0)
    assert untimed(folder) == untimed(done[1])
    assert scalars(folder, "loss") == scalars(done[1], "loss")


def test_a_line_of_metrics_that_was_cut_off_is_written_again(
    digits: Dataset, done: tuple[Fit, Path], interrupted: Path
) -> None:
    with (interrupted / METRICS).open("a") as file:
        file.write('{"epoch": 2, "lo')
    run(Fit(recipe(), digits, CPU, seed=3), interrupted, silent(), resume=True)
    assert untimed(interrupted) == untimed(done[1])


@pytest.mark.parametrize(
    "fit_recipe",
    [
        recipe(solver=adjoint(), batch_size=48),
        without_ode("mlp", precision="bfloat16"),
        without_ode("mlp", outliers={"rows": 8, "weight": 0.5}),
        without_ode("mlp", synthetic={"rows": 8}, levels="stretched", augmentation=CHANGED),
    ],
    ids=["odenet by the adjoint", "mlp in bfloat16", "mlp with outliers", "mlp with synthetic digits"],
)
def test_a_resumed_fit_gives_the_same_result_for_every_kind_of_recipe(
    digits: Dataset, tmp_path: Path, fit_recipe: Recipe
) -> None:
    straight = Fit(fit_recipe, digits, CPU, seed=3)
    run(straight, tmp_path / "straight", silent())
    run_interrupted(Fit(fit_recipe, digits, CPU, seed=3), tmp_path / "interrupted")
    resumed = Fit(fit_recipe, digits, CPU, seed=3)
    run(resumed, tmp_path / "interrupted", silent(), resume=True)
    assert same(resumed.average, straight.average)
    assert same(resumed.network, straight.network)
    assert_close(resumed.optimiser.state_dict(), straight.optimiser.state_dict(), rtol=0, atol=0)


def test_the_second_epoch_changes_the_weights(done: tuple[Fit, Path], interrupted: Path) -> None:
    """The weights after the first epoch differ from the final weights, so the tests above can fail."""
    network, _ = load_network(interrupted, CPU, unfinished=True)
    assert not same(network, done[0].average.module)


def test_an_unfinished_run_has_no_fitted_network(interrupted: Path) -> None:
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT}: has epoch 1 of 2; resume the fit to finish it"):
        load_network(interrupted, CPU)


def test_resuming_a_finished_fit_changes_nothing(digits: Dataset, done: tuple[Fit, Path]) -> None:
    fit, folder = done
    before = metrics_of(folder)
    again = Fit(recipe(), digits, CPU, seed=3)
    run(again, folder, silent(), resume=True)
    assert same(again.average, fit.average)
    assert metrics_of(folder) == before


def test_the_config_describes_the_fit(done: tuple[Fit, Path], digits: Dataset) -> None:
    config = json.loads((done[1] / CONFIG).read_text())
    assert Recipe.model_validate(config.pop("recipe")) == recipe()
    assert config == {
        "seed": 3,
        "dataset": "digits",
        "normalisation": list(digits.normalisation),
        "device": "cpu",
        "torch": torch.__version__,
    }


def test_the_metrics_have_one_line_per_epoch(done: tuple[Fit, Path]) -> None:
    lines = metrics_of(done[1])
    assert [line["epoch"] for line in lines] == [1, 2]
    for line in lines:
        assert all(math.isfinite(value) for value in line.values())
        assert 0 <= line["error"] <= 1
        assert line["validation_error"] * 40 == pytest.approx(round(line["validation_error"] * 40))
        assert line["validation_nfe"] >= 2
        assert line["seconds"] > 0
    assert lines[1]["learning_rate"] < lines[0]["learning_rate"], "the learning rate falls at the end of the schedule"


def test_the_metrics_agree_with_the_answers_of_the_network(done: tuple[Fit, Path], digits: Dataset) -> None:
    fit, folder = done
    images, labels = digits.validation
    with torch.no_grad():
        logits = fit.average.module.eval()(images, SolverSettings.adaptive("heun2", 1.0))
    answer = classify(TorchBackend(load_network(folder, CPU)[0]), images.numpy(), SolverSettings.adaptive("heun2", 1.0))
    last = metrics_of(folder)[-1]
    assert last["validation_error"] == pytest.approx(float((logits.argmax(1) != labels).float().mean()))
    assert last["validation_nfe"] == pytest.approx(answer.nfe.mean())


def test_tensorboard_reads_the_metrics(done: tuple[Fit, Path]) -> None:
    for name, expected in ((name, [line[name] for line in metrics_of(done[1])]) for name in metrics_of(done[1])[0]):
        steps, values = zip(*scalars(done[1], name), strict=True)
        assert steps == (1, 2), name
        assert values == pytest.approx(expected, rel=1e-6), name


def test_a_run_first_prints_the_precision_and_the_estimated_duration(digits: Dataset, tmp_path: Path) -> None:
    console = silent()
    run(Fit(without_ode("mlp", precision="auto"), digits, CPU, seed=3), tmp_path, console)
    first, second, *_ = printed(console)
    decided = load_config(tmp_path).recipe.precision
    assert decided in ("float32", "bfloat16")
    assert re.fullmatch(rf"precision {decided}: a step of convolutions takes .* ms in .*, .* ms in .*", first)
    assert re.fullmatch(r"about \d+:\d\d:\d\d for 2 epochs", second)


def test_a_run_uses_the_precision_of_the_recipe(digits: Dataset, tmp_path: Path) -> None:
    console = silent()
    run(Fit(without_ode("mlp", precision="bfloat16"), digits, CPU, seed=3), tmp_path, console)
    assert printed(console)[0] == "precision bfloat16: the recipe names it"
    assert load_config(tmp_path).recipe.precision == "bfloat16"


def test_the_estimate_of_the_duration_does_not_change_the_fit(digits: Dataset) -> None:
    """The estimate changes neither the weights nor the random numbers."""
    fit_recipe = recipe(epochs=1, synthetic={"rows": 8}, outliers={"rows": 8, "weight": 0.5}, augmentation=CHANGED)
    plain, timed = Fit(fit_recipe, digits, CPU, seed=3), Fit(fit_recipe, digits, CPU, seed=3)
    assert timed.time_epoch() > 0
    for fit in (plain, timed):
        list(fit.train_epoch())
    assert same(timed.network, plain.network)
    assert same(timed.average, plain.average)


def test_a_run_without_a_terminal_prints_a_line_at_each_tenth_of_an_epoch(digits: Dataset, tmp_path: Path) -> None:
    console = silent()
    run(Fit(without_ode("mlp", batch_size=4), digits, CPU, seed=3), tmp_path, console)
    lines = [line for line in printed(console) if " of epoch " in line]
    assert len(lines) == 2 * 10
    assert re.fullmatch(r"  12% of epoch 1: loss [\d.]+  error [\d.]+%  [\d,]+ images/s  \d:\d\d:\d\d left", lines[0])
    assert lines[-1].startswith("  100% of epoch 2: ")
    assert lines[-1].endswith("  0:00:00 left")


def test_a_run_on_a_terminal_shows_a_bar_instead(digits: Dataset, tmp_path: Path) -> None:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=200)
    run(Fit(without_ode("mlp"), digits, CPU, seed=3), tmp_path, terminal)
    shown = "\n".join(printed(terminal))
    assert " of epoch " not in shown
    assert "epoch 2/2" in shown


def test_a_run_with_outliers_reports_their_greatest_probability(digits: Dataset, tmp_path: Path) -> None:
    console = silent()
    fit = Fit(without_ode("mlp", epochs=1, outliers={"rows": 8, "weight": 0.5}), digits, CPU, seed=3)
    run(fit, tmp_path, console)
    confidence = metrics_of(tmp_path)[0]["outlier_confidence"]
    assert 0.1 <= confidence <= 1
    assert confidence == fit.validate().outlier_confidence
    assert isinstance(console.file, io.StringIO)
    assert f"outliers {confidence:.2f}" in " ".join(console.file.getvalue().split())


def test_a_run_whose_config_has_no_field_for_outliers_can_be_resumed(digits: Dataset, interrupted: Path) -> None:
    config = json.loads((interrupted / CONFIG).read_text())
    del config["recipe"]["outliers"]
    (interrupted / CONFIG).write_text(json.dumps(config))
    run(Fit(recipe(), digits, CPU, seed=3), interrupted, silent(), resume=True)
    assert len(metrics_of(interrupted)) == 2


def test_a_new_fit_does_not_overwrite_an_existing_run(digits: Dataset, interrupted: Path) -> None:
    before = {path.name: path.read_bytes() for path in interrupted.iterdir()}
    with pytest.raises(CheckpointError, match=str(interrupted)):
        run(Fit(recipe(), digits, CPU, seed=5), interrupted, silent())
    assert {path.name: path.read_bytes() for path in interrupted.iterdir()} == before


@pytest.mark.parametrize(
    ("changed", "other"),
    [
        ("recipe", {"epochs": 3}),
        ("recipe", {"learning_rate": 1e-3}),
        ("recipe", {"solver": adjoint()}),
        ("recipe", {"outliers": {"rows": 8, "weight": 1}}),
        ("seed", {}),
    ],
)
def test_another_fit_cannot_resume_a_run(
    digits: Dataset, interrupted: Path, changed: str, other: dict[str, Any]
) -> None:
    config = (interrupted / CONFIG).read_text()
    with pytest.raises(CheckpointError, match=f"another {changed}"):
        run(Fit(recipe(**other), digits, CPU, seed=3 if other else 4), interrupted, silent(), resume=True)
    assert (interrupted / CONFIG).read_text() == config


def test_the_fitted_network_is_the_average(done: tuple[Fit, Path]) -> None:
    fit, folder = done
    network, config = load_network(folder, CPU)
    assert same(network, fit.average.module)
    assert not same(network, fit.network)
    assert not network.training
    assert isinstance(network.stem, nn.Sequential)
    assert network.stem[0].normalisation == fit.dataset.normalisation
    assert config.seed == 3


def test_a_run_without_a_checkpoint_cannot_be_resumed(digits: Dataset, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        run(Fit(recipe(), digits, CPU, seed=0), tmp_path, silent(), resume=True)


@pytest.mark.parametrize("content", [None, "{", "{}", "[]", '{"normalisation": {"mean": 0}}'])
def test_a_run_with_a_missing_or_invalid_config_is_refused(
    done: tuple[Fit, Path], tmp_path: Path, content: str | None
) -> None:
    (tmp_path / CHECKPOINT).write_bytes((done[1] / CHECKPOINT).read_bytes())
    if content is not None:
        (tmp_path / CONFIG).write_text(content)
    with pytest.raises(CheckpointError, match=CONFIG):
        load_network(tmp_path, CPU)


@pytest.mark.parametrize("state", [{}, {"average": {}}, {"average": None}, {"average": {"module.x": torch.ones(1)}}])
def test_a_checkpoint_with_another_state_is_refused(
    done: tuple[Fit, Path], tmp_path: Path, state: checkpoint.State
) -> None:
    (tmp_path / CONFIG).write_bytes((done[1] / CONFIG).read_bytes())
    checkpoint.save(tmp_path / CHECKPOINT, state)
    with pytest.raises(CheckpointError, match=CHECKPOINT):
        load_network(tmp_path, CPU)


def test_a_network_without_an_ode_can_be_run(digits: Dataset, tmp_path: Path) -> None:
    """The validation of this network needs no function evaluations."""
    fit = Fit(without_ode("mlp", epochs=1), digits, CPU, seed=0)
    run(fit, tmp_path, silent())
    assert [line["validation_nfe"] for line in metrics_of(tmp_path)] == [0]
    network, config = load_network(tmp_path, CPU)
    assert isinstance(network, MLP)
    assert same(network, fit.average.module)
    assert (config.recipe.solver, config.recipe.validation) == (None, None)
    answer = classify(TorchBackend(network), digits.validation.images.numpy(), None)
    errors = (answer.digits != digits.validation.labels.numpy()).mean()
    assert metrics_of(tmp_path)[0]["validation_error"] == pytest.approx(errors)


def test_the_error_names_a_checkpoint_of_another_network(
    done: tuple[Fit, Path], digits: Dataset, tmp_path: Path
) -> None:
    run(Fit(without_ode("mlp", epochs=1), digits, CPU, seed=0), tmp_path, silent())
    (tmp_path / CHECKPOINT).write_bytes((done[1] / CHECKPOINT).read_bytes())
    with pytest.raises(CheckpointError, match=f"{CHECKPOINT}: not the checkpoint of mlp"):
        load_network(tmp_path, CPU)
