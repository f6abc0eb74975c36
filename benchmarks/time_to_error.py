"""Time to a validation error, beside torchdiffeq's own example on MNIST.

Claimed: a fit by this project's recipe reaches 0.5 % on the validation split in at most a tenth of the time that an
ODE-Net takes that is trained as torchdiffeq's example trains one (R. T. Q. Chen, https://github.com/rtqichen/torchdiffeq,
examples/odenet_mnist.py, with its defaults: see `Example`). Measured one after the other, on the same threads of one
machine, the same fit split and in float32 or what the recipe says. The clock is the processor's, all threads together,
so that what else the machine does matters little; it runs while either trains, and stands still while either validates,
which both do after each epoch, by the same function on the same digits. The example is stopped
when it has had ten times the seconds; it is then validated once more.

    python -m benchmarks.time_to_error [--recipe FILE] [--target ERROR] [--factor TIMES] [--threads THREADS]

What differs is everything that makes a fit fast: the recipe's network (the default one has a stem of a tenth of the
cost, and 114,314 parameters beside 208,266), its few evaluations, augmentation, optimiser, precision, and a schedule
that is made for the target, where the example's is made for 160 epochs. One seed of each.

Writes docs/figures/time-to-error.svg. Takes eleven times what the recipe takes to reach the error, and the validations.
"""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, Protocol

import torch
import torch.nn.functional as F
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.optim.lr_scheduler import MultiStepLR
from torchdiffeq import odeint

from benchmarks import figures
from models.backends.protocol import classify
from models.backends.torch import TorchBackend
from models.form import SIDE
from models.networks.layers import CHANNELS, GROUPS, Head, Normalisation
from models.networks.network import Network
from models.networks.odenet import Stem
from training.data import CLASSES, Dataset, load
from training.fit import VALIDATION_BATCH, Fit
from training.recipe import RECIPES, RecipeError, read_recipe

FIGURE = figures.FOLDER / "time-to-error.svg"
SEED = 0
OURS, EXAMPLE = "this project", "torchdiffeq's example"
UNSCALED = Normalisation(0.0, 1.0)
"""The example only brings pixels to 0..1."""


class Sample(NamedTuple):
    """A validation.

    Attributes:
        seconds: of the processor, spent on training before it.
        epochs: passes over the fit split before it.
        error: the share of rows of the validation split that are wrong.
    """

    seconds: float
    epochs: float
    error: float

    def __str__(self) -> str:
        return f"{self.epochs:.2f} epochs, {self.seconds:,.1f} s: validation error {self.error:.2%}"


class Trainer(Protocol):
    """What the clock runs for.

    Attributes:
        epochs: after which it ends.
        batches: in an epoch.
    """

    epochs: int
    batches: int

    def train_epoch(self) -> Iterator[object]:
        """Train for an epoch; yield after each batch."""

    def validate(self) -> float:
        """The error rate on the validation split."""


class Ours:
    """A fit by a recipe.

    Args:
        fit: which, at its beginning.
    """

    def __init__(self, fit: Fit) -> None:
        self.epochs = fit.recipe.epochs
        self.batches = fit.batches
        self.train_epoch: Callable[[], Iterator[object]] = fit.train_epoch
        self._fit = fit

    def validate(self) -> float:
        """The error rate, by the recipe's validation solver."""
        return self._fit.validate().error


class Convolution(nn.Module):
    """A 3x3 convolution over the channels of x and a channel of the time, concatenated as the example does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS + 1, CHANNELS, 3, padding=1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Convolve ``[rows, 64, height, width]`` at the time, a scalar."""
        convolved: Tensor = self.conv(torch.cat([t.expand(len(x), 1, *x.shape[2:]), x], dim=1))
        return convolved


class Solve(nn.Module):
    """The example's ODE block: from the state at 0 to that at 1, the whole batch with the same steps."""

    tolerance = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(GROUPS, CHANNELS) for _ in range(3))
        self.conv1, self.conv2 = Convolution(), Convolution()

    def forward(self, z: Tensor) -> Tensor:
        """Solve from ``[rows, 64, 6, 6]``; its gradient goes through the solver, as it does in the example."""
        times = torch.tensor([0.0, 1.0], dtype=z.dtype, device=z.device)
        _, end = odeint(self._derivative, z, times, rtol=self.tolerance, atol=self.tolerance, method="dopri5")
        solved: Tensor = end
        return solved

    def _derivative(self, t: Tensor, z: Tensor) -> Tensor:
        out = self.conv1(t, F.relu(self.norm1(z), inplace=True))
        out = self.conv2(t, F.relu(self.norm2(out), inplace=True))
        derivative: Tensor = self.norm3(out)
        return derivative


@dataclass
class Example:
    """Torchdiffeq's example: its network, of 208,266 parameters, and its training, with its defaults.

    SGD with momentum in batches of 128, whose rate falls to a tenth after epochs 60, 100 and 140 of 160, on random
    crops out of the picture with four pixels of black around it. The digits lie in memory and a batch is cropped as
    one, which is faster than the example's own loader.

    Args:
        dataset: what to fit.
        seed: of the initial weights, the order of the rows and the crops.
    """

    dataset: Dataset
    seed: int

    epochs = 160
    falls = (60, 100, 140)
    batch_size = 128
    learning_rate = 0.1
    momentum = 0.9
    padding = 4

    def __post_init__(self) -> None:
        torch.manual_seed(self.seed)
        self.network = Network(nn.Sequential(Stem(UNSCALED), Solve()), Head(CLASSES))
        self.optimiser = torch.optim.SGD(self.network.parameters(), self.learning_rate, self.momentum)
        self.batches = max(1, len(self.dataset.fit.labels) // self.batch_size)
        self.schedule = MultiStepLR(self.optimiser, [self.batches * epoch for epoch in self.falls])
        self.generator = torch.Generator().manual_seed(self.seed)

    def train_epoch(self) -> Iterator[Tensor]:
        """Train for an epoch; after each batch, yield its mean loss."""
        images, labels = self.dataset.fit
        order = torch.randperm(len(labels), generator=self.generator)
        for rows in order[: self.batches * self.batch_size].chunk(self.batches):
            loss = F.cross_entropy(self.network(self.crop(images[rows])), labels[rows])
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            yield loss.detach()

    def crop(self, images: Tensor) -> Tensor:
        """Crop each picture at its own random place; ``[rows, 28, 28]`` both."""
        padded = F.pad(images, [self.padding] * 4)
        corners = torch.randint(2 * self.padding + 1, (2, len(images), 1), generator=self.generator)
        y, x = corners + torch.arange(SIDE)
        return padded[torch.arange(len(images))[:, None, None], y[:, :, None], x[:, None, :]]

    def validate(self) -> float:
        """The error rate, by the solver that it is trained with."""
        images, labels = self.dataset.validation
        backend = TorchBackend(copy.deepcopy(self.network))  # which freezes what it is given
        answer = classify(backend, images.numpy(), None, VALIDATION_BATCH)
        return float((answer.digits != labels.numpy()).mean())


def race(trainer: Trainer, target: float, limit: float = math.inf) -> Iterator[Sample]:
    """Train until a validation error, the last epoch or a limit of time, and validate after each epoch and at the end.

    Args:
        trainer: at its beginning.
        target: the error to reach.
        limit: seconds of the processor for training; the batch in which they end is the last.
    """
    seconds = 0.0
    for epoch in range(trainer.epochs):
        batches, before, started = 0, seconds, time.process_time()
        for _ in trainer.train_epoch():
            batches += 1
            seconds = before + time.process_time() - started
            if seconds >= limit:
                break
        sample = Sample(seconds, epoch + batches / trainer.batches, trainer.validate())
        yield sample
        if sample.error <= target or seconds >= limit:
            return


def verdict(ours: Sample, example: Sample, target: float) -> str:
    """How many times as long the example took.

    Args:
        ours: the end of the fit by the recipe, which has reached the target.
        example: the end of the example, whether or not it has.
        target: the error to reach.
    """
    times = f"{example.seconds / ours.seconds:.1f} times"
    if example.error <= target:
        return f"{EXAMPLE} took {times} as long to {target:.2%}"
    return f"{EXAMPLE} takes at least {times} as long to {target:.2%}; it was stopped at {example.error:.2%}"


def draw(ours: list[Sample], example: list[Sample], target: float, path: Path) -> None:
    """Draw the validation error over the seconds of training.

    Args:
        ours: the fit by the recipe.
        example: torchdiffeq's example.
        target: the error to reach.
        path: of the SVG file.
    """
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, samples in ((OURS, ours), (EXAMPLE, example)):
        errors = [100 * sample.error for sample in samples]
        axes.loglog([sample.seconds for sample in samples], errors, "o-", label=name, markersize=4, linewidth=1)
    axes.axhline(100 * target, color="black", linestyle=":", linewidth=1, label=f"{target:.2%}")
    figures.label(axes, "time to a validation error", "processor seconds of training", "validation error, %")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(fontsize=8)
    figures.save(figure, path)


def main(
    recipe: Annotated[Path, typer.Option(help="The recipe's TOML file.")] = RECIPES / "quick.toml",
    target: Annotated[float, typer.Option(min=0, max=1, help="The validation error to reach.")] = 0.005,
    factor: Annotated[
        float, typer.Option(min=0, help="After how many times our seconds the example is stopped.")
    ] = 10.0,
    threads: Annotated[int, typer.Option(min=1, help="That compute.")] = 1,
) -> None:
    """Fit until a validation error, then train torchdiffeq's example until it or for so many times the seconds."""
    try:
        told = read_recipe(recipe)
    except RecipeError as refusal:
        raise typer.BadParameter(str(refusal)) from refusal
    torch.set_num_threads(threads)
    console = Console(highlight=False)
    dataset = load()
    ours = _told(console, OURS, race(Ours(Fit(told, dataset, torch.device("cpu"), SEED)), target))
    if ours[-1].error > target:
        console.print(f"{recipe} ends without reaching {target:.2%}")
        raise typer.Exit(1)
    example = _told(console, EXAMPLE, race(Example(dataset, SEED), target, factor * ours[-1].seconds))
    table = Table("", "processor seconds", "epochs", "of them an epoch", "validation error")
    for name, (seconds, epochs, error) in ((OURS, ours[-1]), (EXAMPLE, example[-1])):
        table.add_row(name, f"{seconds:,.1f}", f"{epochs:.2f}", f"{seconds / epochs:,.1f}", f"{error:.2%}")
    console.print(table)
    console.print(verdict(ours[-1], example[-1], target))
    draw(ours, example, target, FIGURE)


def _told(console: Console, name: str, samples: Iterator[Sample]) -> list[Sample]:
    """The samples of a race, each said as it comes."""
    seen = []
    for sample in samples:
        console.print(f"{name}: {sample}")
        seen.append(sample)
    return seen


if __name__ == "__main__":
    typer.run(main)
