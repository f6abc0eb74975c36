"""Fits a network by a recipe: the loop, its progress, its metrics, its checkpoints."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from models.networks.layers import Normalisation
from models.networks.odenet import ODENet
from models.solvers.attempt import Attempt
from training import checkpoint
from training.augment import augment
from training.data import CLASSES, Dataset
from training.recipe import Recipe

CHECKPOINT = "checkpoint.safetensors"
CONFIG = "config.json"
METRICS = "metrics.jsonl"
VALIDATION_BATCH = 500


class RunConfig(BaseModel):
    """What a run folder says of its fit, in `config.json`.

    Attributes:
        recipe: how it is fitted.
        seed: of everything random.
        dataset: the name of the folder with the digits.
        normalisation: of their pixels.
        device: where it is computed, and random numbers drawn.
        torch: the version of torch.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    seed: int
    dataset: str
    normalisation: Normalisation
    device: str
    torch: str


@dataclass
class Fit:
    """A fit under way: the network, its average, the optimiser, and how far they have come.

    All randomness of an epoch follows from the seed and the epoch's number, so that a fit that is resumed after an
    epoch goes on exactly as it would have.

    Args:
        recipe: how to fit.
        dataset: what to fit.
        device: where to compute.
        seed: of the initial weights, the order of the rows, the augmentation and the drawn numbers of steps.
    """

    recipe: Recipe
    dataset: Dataset
    device: torch.device
    seed: int

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.network = ODENet(self.dataset.normalisation, CLASSES).to(self.device)
        moving_average = get_ema_multi_avg_fn(self.recipe.average_decay)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=moving_average)
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.recipe.learning_rate,
            weight_decay=self.recipe.weight_decay,
            fused=True,
        )
        self.schedule = OneCycleLR(
            self.optimiser,
            self.recipe.learning_rate,
            epochs=self.recipe.epochs,
            steps_per_epoch=self.batches,
            cycle_momentum=False,
        )
        self.epoch = 0
        self.fit_split = self.dataset.fit.to(self.device)
        self.validation_split = self.dataset.validation.to(self.device)

    @property
    def batches(self) -> int:
        """Batches in an epoch; rows that do not fill one are left out of it."""
        return max(1, len(self.dataset.fit.labels) // self.recipe.batch_size)

    def train_epoch(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Train for an epoch; after each batch, yield its number of rows, its mean loss and its errors."""
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.fit_split.labels), generator=generator, device=self.device)
        self.network.train()
        for rows in order[: self.batches * self.recipe.batch_size].chunk(self.batches):
            images = augment(self.fit_split.images[rows], self.recipe.augmentation, generator)
            labels = self.fit_split.labels[rows]
            loss, logits = self._loss(images, labels, generator)
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            self.average.update_parameters(self.network)
            yield len(rows), loss.detach(), (logits.argmax(1) != labels).sum()
        self.epoch += 1

    def _loss(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Cross entropy and kinetic penalty, and the logits."""
        solver = self.recipe.solver
        drawn = torch.randint(len(solver.steps), (), generator=generator, device=self.device)
        steps = solver.steps[int(drawn)]
        energies: list[Tensor] = []

        def add_energy(_rows: Tensor, _t: Tensor, _h: Tensor, attempt: Attempt) -> None:
            energies.append(attempt.k1.square().mean() / steps)

        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            logits, _ = self.network(images, solver.method, steps=steps, observe=add_energy)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self.recipe.label_smoothing)
        return loss + solver.kinetic_penalty * torch.stack(energies).sum(), logits

    @torch.no_grad()
    def validate(self) -> tuple[float, float]:
        """The error rate and the mean NFE of the averaged network on the validation split."""
        self.average.eval()
        solver = self.recipe.validation
        images, labels = self.validation_split
        errors, nfe = 0, 0
        for start in range(0, len(labels), VALIDATION_BATCH):
            rows = slice(start, start + VALIDATION_BATCH)
            logits, solution = self.average(images[rows], solver.method, tolerance=solver.tolerance)
            errors += int((logits.argmax(1) != labels[rows]).sum())
            nfe += int(solution.nfe.sum())
        return errors / len(labels), nfe / len(labels)

    def state(self) -> checkpoint.State:
        """All that the next epoch depends on."""
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def restore(self, state: checkpoint.State) -> None:
        """Go on from a state that was saved."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])


def run(fit: Fit, folder: Path, console: Console, *, resume: bool = False) -> None:
    """Fit to the recipe's last epoch, with a checkpoint, a line of metrics and TensorBoard scalars after each.

    Args:
        fit: the fit to run.
        folder: the run folder; receives `config.json`, `metrics.jsonl`, `checkpoint.safetensors`, TensorBoard's file.
        console: where progress is shown.
        resume: go on from the folder's checkpoint.

    Raises:
        CheckpointError: `resume` was asked for and there is no checkpoint that can be read, or it is of another fit;
            or it was not asked for and there is one.
    """
    if resume:
        _resume(fit, folder)
        console.print(f"resumed after epoch {fit.epoch} of {fit.recipe.epochs}")
    elif (folder / CHECKPOINT).exists():
        raise checkpoint.CheckpointError(f"{folder}: holds a run already; resume it, or name another folder")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).write_text(_config(fit).model_dump_json(indent=2) + "\n")
    with SummaryWriter(folder, purge_step=fit.epoch + 1) as board, _progress(console) as progress:
        total, done = fit.recipe.epochs * fit.batches, fit.epoch * fit.batches
        task = progress.add_task("", total=total, completed=done, loss=0.0, error=0.0, speed=0.0)
        while fit.epoch < fit.recipe.epochs:
            progress.update(task, description=f"epoch {fit.epoch + 1}/{fit.recipe.epochs}")
            metrics = _run_epoch(fit, progress, task)
            checkpoint.save(folder / CHECKPOINT, fit.state())
            with (folder / METRICS).open("a") as file:
                file.write(json.dumps(metrics) + "\n")
            for name, value in metrics.items():
                board.add_scalar(name, value, fit.epoch)
            console.print(
                f"epoch {fit.epoch}/{fit.recipe.epochs}  loss {metrics['loss']:.4f}  "
                f"error {metrics['error']:.2%}  validation {metrics['validation_error']:.2%} "
                f"at {metrics['validation_nfe']:.1f} NFE  {metrics['images_per_second']:,.0f} images/s"
            )


def load_network(folder: Path, device: torch.device) -> tuple[ODENet, RunConfig]:
    """The fitted network of a run folder, and the run's config.

    Raises:
        CheckpointError: the folder has no checkpoint or no config that can be read.
    """
    state = checkpoint.load(folder / CHECKPOINT, device)
    config = load_config(folder)
    network = ODENet(config.normalisation, CLASSES).to(device)
    average = AveragedModel(network)
    try:
        average.load_state_dict(state["average"])
    except (RuntimeError, KeyError, TypeError) as error:
        raise checkpoint.CheckpointError(f"{folder / CHECKPOINT}: not the checkpoint of an ODE-Net") from error
    network.load_state_dict(average.module.state_dict())
    return network.eval(), config


def load_config(folder: Path) -> RunConfig:
    """The config of a run folder.

    Raises:
        CheckpointError: it is missing or of another form.
    """
    path = folder / CONFIG
    try:
        return RunConfig.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise checkpoint.CheckpointError(f"{path}: not the config of a run ({error})") from error


def _resume(fit: Fit, folder: Path) -> None:
    """Restore a fit from the checkpoint of a run folder, if that is of the same fit."""
    state = checkpoint.load(folder / CHECKPOINT, fit.device)
    begun, told = load_config(folder), _config(fit)
    for key in ("recipe", "seed", "dataset", "normalisation", "device"):
        if getattr(begun, key) != getattr(told, key):
            raise checkpoint.CheckpointError(f"{folder / CONFIG}: begun with another {key}; it cannot be resumed so")
    try:
        fit.restore(state)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise checkpoint.CheckpointError(f"{folder / CHECKPOINT}: not the checkpoint of this fit") from error


def _run_epoch(fit: Fit, progress: Progress, task: TaskID) -> dict[str, float]:
    started = time.perf_counter()
    rows, loss_sum, error_sum = 0, 0.0, 0.0
    for batch_rows, loss, errors in fit.train_epoch():
        rows += batch_rows
        loss_sum += float(loss) * batch_rows
        error_sum += float(errors)
        speed = rows / (time.perf_counter() - started)
        progress.update(task, advance=1, loss=loss_sum / rows, error=error_sum / rows, speed=speed)
    seconds = time.perf_counter() - started
    validation_error, validation_nfe = fit.validate()
    return {
        "epoch": fit.epoch,
        "loss": loss_sum / rows,
        "error": error_sum / rows,
        "validation_error": validation_error,
        "validation_nfe": validation_nfe,
        "learning_rate": float(fit.schedule.get_last_lr()[0]),
        "images_per_second": rows / seconds,
        "seconds": seconds,
    }


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  error {task.fields[error]:.2%}  {task.fields[speed]:,.0f} images/s"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _config(fit: Fit) -> RunConfig:
    return RunConfig(
        recipe=fit.recipe,
        seed=fit.seed,
        dataset=fit.dataset.name,
        normalisation=fit.dataset.normalisation,
        device=fit.device.type,
        torch=torch.__version__,
    )
