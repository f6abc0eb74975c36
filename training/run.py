"""A run: a fit with its folder, its progress, its metrics and its checkpoints."""

import json
import time
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from torch.optim.swa_utils import AveragedModel
from torch.utils.tensorboard import SummaryWriter

from models.artifact import METRICS
from models.networks.layers import Normalisation
from models.networks.network import Network
from models.networks.registry import NETWORKS
from training import checkpoint, processes
from training.data import CLASSES
from training.fit import Fit
from training.progress import BatchReport, ShowProgress, duration, show_progress
from training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.json"


class RunConfig(BaseModel):
    """The content of `config.json` in a run folder.

    Attributes:
        recipe: the recipe of the fit. Its precision is the decided precision, never "auto".
        seed: the seed of all random numbers.
        dataset: the name of the folder with the digits.
        normalisation: how the network scales pixels.
        device: the type of the device that computes and draws the random numbers.
        torch: the version of torch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    seed: int
    dataset: str
    normalisation: Normalisation
    device: str
    torch: str


def run(fit: Fit, folder: Path, console: Console, *, resume: bool = False) -> None:
    """Run a fit to its last epoch. After each epoch write a line of metrics, TensorBoard scalars and a checkpoint.

    The checkpoint comes last. If the run stops before it, the next run drops the metrics of that epoch and repeats it.

    Args:
        fit: the fit to run.
        folder: the run folder for `config.json`, `metrics.jsonl`, `checkpoint.safetensors` and TensorBoard's file.
        console: the console that shows the progress.
        resume: whether to resume from the folder's checkpoint.

    Raises:
        CheckpointError: with `resume`, the checkpoint is missing, cannot be read or belongs to another fit; without
            `resume`, the folder already has a checkpoint.
    """
    _begin(fit, folder, resume=resume)
    left = fit.recipe.epochs - fit.epoch
    if processes.rank() > 0:  # only the first process prints messages and writes files
        if left:
            fit.time_epoch()
        while fit.epoch < fit.recipe.epochs:
            _train_epoch(fit, lambda _: None)
        return
    reason = "the precision that the run started with" if resume else fit.decision.reason
    console.print(f"precision {fit.recipe.precision}: {reason}", highlight=False)
    if resume:
        console.print(f"resumed after epoch {fit.epoch} of {fit.recipe.epochs}")
    if left:
        epochs = "1 epoch" if left == 1 else f"{left} epochs"
        console.print(f"about {duration(left * fit.time_epoch())} for {epochs}", highlight=False)
    _drop_metrics_after(fit.epoch, folder / METRICS)
    with (
        SummaryWriter(folder, purge_step=fit.epoch + 1) as board,
        show_progress(console, fit.recipe.epochs, fit.batches, fit.epoch) as show,
    ):
        while fit.epoch < fit.recipe.epochs:
            metrics = _run_epoch(fit, show)
            with (folder / METRICS).open("a") as file:
                file.write(json.dumps(metrics) + "\n")
            for name, value in metrics.items():
                board.add_scalar(name, value, fit.epoch)
            checkpoint.save(folder / CHECKPOINT, fit.state())
            outliers = f"  outliers {metrics['outlier_confidence']:.2f}" if "outlier_confidence" in metrics else ""
            console.print(
                f"epoch {fit.epoch}/{fit.recipe.epochs}  loss {metrics['loss']:.4f}  "
                f"error {metrics['error']:.2%}  validation {metrics['validation_error']:.2%} "
                f"at {metrics['validation_nfe']:.1f} NFE{outliers}  {metrics['images_per_second']:,.0f} images/s"
            )


def with_decided_precision(recipe: Recipe, folder: Path) -> Recipe:
    """Replace the precision "auto" of a recipe by the precision that its run started with.

    Args:
        recipe: the recipe; it is returned unchanged if its precision is not "auto".
        folder: the run folder.

    Raises:
        CheckpointError: the config of the folder is missing or cannot be read.
    """
    if recipe.precision != "auto":
        return recipe
    return recipe.model_copy(update={"precision": load_config(folder).recipe.precision})


def load_network(folder: Path, device: torch.device, *, unfinished: bool = False) -> tuple[Network, RunConfig]:
    """The fitted network of a run folder, and the run's config.

    Args:
        folder: the run folder.
        device: the device to load the network on.
        unfinished: whether the network of a run with epochs left is loaded too.

    Raises:
        CheckpointError: the checkpoint or the config of the folder is missing or cannot be read, or the run has epochs
            left.
    """
    state = checkpoint.load(folder / CHECKPOINT, device)
    config = load_config(folder)
    network = NETWORKS[config.recipe.network](config.normalisation, CLASSES).to(device)
    average = AveragedModel(network)
    try:
        average.load_state_dict(state["average"])
        epoch = int(state["epoch"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(
            f"{folder / CHECKPOINT}: not the checkpoint of {config.recipe.network}"
        ) from error
    if epoch < config.recipe.epochs and not unfinished:
        raise checkpoint.CheckpointError(
            f"{folder / CHECKPOINT}: has epoch {epoch} of {config.recipe.epochs}; resume the fit to finish it"
        )
    network.load_state_dict(average.module.state_dict())
    return network.eval(), config


def load_config(folder: Path) -> RunConfig:
    """The config of a run folder.

    Raises:
        CheckpointError: the config is missing or invalid.
    """
    path = folder / CONFIG
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise checkpoint.CheckpointError(f"{path}: the config of the run cannot be read ({error})") from error


def _begin(fit: Fit, folder: Path, *, resume: bool) -> None:
    """Create the run folder, or restore the fit from the checkpoint of the folder if it belongs to the same fit."""
    if not resume:
        if (folder / CHECKPOINT).exists():
            raise checkpoint.CheckpointError(f"{folder}: already contains a run; resume it, or choose another folder")
        if processes.rank() == 0:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / CONFIG).write_text(_config(fit).model_dump_json(indent=2) + "\n")
        return
    state = checkpoint.load(folder / CHECKPOINT, fit.device)
    started_with, config = load_config(folder), _config(fit)
    for key in ("recipe", "seed", "dataset", "normalisation", "device"):
        if getattr(started_with, key) != getattr(config, key):
            raise checkpoint.CheckpointError(
                f"{folder / CONFIG}: the run started with another {key}, so this fit cannot resume it"
            )
    try:
        fit.restore(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(f"{folder / CHECKPOINT}: not the checkpoint of this fit") from error


def _drop_metrics_after(epoch: int, path: Path) -> None:
    """Drop the lines of later epochs, and a line that an interruption has cut off."""
    with path.open("ab+") as file:
        file.seek(0)
        lines = [line for line in file if line.endswith(b"\n") and json.loads(line)["epoch"] <= epoch]
        file.truncate(sum(map(len, lines)))


def _run_epoch(fit: Fit, show: ShowProgress) -> dict[str, float]:
    """Train for an epoch and validate; the metrics cover all processes."""
    started = time.perf_counter()
    rows, loss, error = _train_epoch(fit, show)
    seconds = time.perf_counter() - started
    validation = fit.validate()
    metrics = {
        "epoch": fit.epoch,
        "loss": loss,
        "error": error,
        "validation_error": validation.error,
        "validation_nfe": validation.nfe,
        "learning_rate": float(fit.schedule.get_last_lr()[0]),
        "images_per_second": rows / seconds,
        "seconds": seconds,
    }
    if validation.outlier_confidence is not None:
        metrics["outlier_confidence"] = validation.outlier_confidence
    return metrics


def _train_epoch(fit: Fit, show: ShowProgress) -> tuple[int, float, float]:
    """Train for an epoch.

    Args:
        fit: the fit.
        show: called after each batch with the progress of this process.

    Returns:
        The number of rows, the mean loss and the error rate of all processes.
    """
    rows, loss_sum, error_sum = 0, 0.0, 0.0
    started, epoch = time.perf_counter(), fit.epoch + 1
    for batch, (batch_rows, loss, errors) in enumerate(fit.train_epoch(), start=1):
        rows += batch_rows
        loss_sum += float(loss) * batch_rows
        error_sum += float(errors)
        speed = processes.count() * rows / (time.perf_counter() - started)
        show(BatchReport(epoch, batch, loss_sum / rows, error_sum / rows, speed))
    sums = torch.tensor([rows, loss_sum, error_sum], dtype=torch.float64, device=fit.device)
    rows, loss_sum, error_sum = processes.add_up(sums).tolist()
    return int(rows), loss_sum / rows, error_sum / rows


def _config(fit: Fit) -> RunConfig:
    return RunConfig(
        recipe=fit.recipe,
        seed=fit.seed,
        dataset=fit.dataset.name,
        normalisation=fit.normalisation,
        device=fit.device.type,
        torch=torch.__version__,
    )
