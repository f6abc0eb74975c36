"""Training time to a validation error, compared with torchdiffeq's own example on MNIST.

The claim: a fit with this project's recipe reaches a validation error of 0.5 % in at most a tenth of the time of an
ODE-Net that is trained like torchdiffeq's example (R. T. Q. Chen, https://github.com/rtqichen/torchdiffeq,
examples/odenet_mnist.py, with its defaults: see `Example`).

We train one after the other, with the same number of threads on one machine and on the same fit split, in float32 or in
the precision of the recipe. We count processor time, summed over all threads, so that other load on the machine matters
little. The clock runs during training, and stops during validation. Both validate after each epoch, with the same
function on the same digits. We stop the example after ten times the seconds of our fit, and validate it once more.

    python -m benchmarks.time_to_error [--recipe FILE] [--target ERROR] [--factor TIMES] [--threads THREADS]

The two fits differ in everything that makes a fit fast: the network (the stem of the default recipe costs a tenth, and
its network has 114,314 parameters, against 208,266), the number of evaluations, the augmentation, the optimiser, the
precision, and the schedule, which is made for the target, while the example's is made for 160 epochs. We run one seed
of each.

Writes docs/figures/time-to-error.svg. Takes eleven times as long as the recipe takes to reach the error, plus the time
of the validations.
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
"""The example only scales pixels to 0..1."""


class Sample(NamedTuple):
    """The result of a validation.

    Attributes:
        seconds: processor time of the training before the validation.
        epochs: passes over the fit split before the validation.
        error: the share of wrong rows in the validation split.
    """

    seconds: float
    epochs: float
    error: float

    def __str__(self) -> str:
        return f"{self.epochs:.2f} epochs, {self.seconds:,.1f} s: validation error {self.error:.2%}"


class Trainer(Protocol):
    """A training that `race` can time.

    Attributes:
        epochs: the number of epochs.
        batches: the number of batches per epoch.
    """

    epochs: int
    batches: int

    def train_epoch(self) -> Iterator[object]:
        """Train for an epoch; yield after each batch."""

    def validate(self) -> float:
        """The error rate on the validation split."""


class Ours:
    """A fit with a recipe.

    Args:
        fit: a fit that has not started.
    """

    def __init__(self, fit: Fit) -> None:
        self.epochs = fit.recipe.epochs
        self.batches = fit.batches
        self.train_epoch: Callable[[], Iterator[object]] = fit.train_epoch
        self._fit = fit

    def validate(self) -> float:
        """The error rate with the recipe's validation solver."""
        return self._fit.validate().error


class Convolution(nn.Module):
    """A 3x3 convolution over the channels of x and a channel for the time, concatenated like in the example."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(CHANNELS + 1, CHANNELS, 3, padding=1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        """Convolve ``[rows, 64, height, width]`` at a time, which is a scalar."""
        convolved: Tensor = self.conv(torch.cat([t.expand(len(x), 1, *x.shape[2:]), x], dim=1))
        return convolved


class Solve(nn.Module):
    """The example's ODE block: it solves from t = 0 to t = 1, with the same steps for the whole batch."""

    tolerance = 1e-3

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.GroupNorm(GROUPS, CHANNELS) for _ in range(3))
        self.conv1, self.conv2 = Convolution(), Convolution()

    def forward(self, z: Tensor) -> Tensor:
        """Solve from a state ``[rows, 64, 6, 6]``. The gradient goes through the solver, like in the example."""
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
    """Torchdiffeq's example with its defaults: its network, of 208,266 parameters, and its training.

    The training is SGD with momentum in batches of 128. The learning rate falls to a tenth after epochs 60, 100 and 140
    of 160. Each image is a random crop of the picture padded with four black pixels. We keep the digits in memory and
    crop a whole batch at once, which is faster than the example's own loader.

    Args:
        dataset: the data to fit.
        seed: for the initial weights, the order of the rows and the crops.
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
        for indices in order[: self.batches * self.batch_size].chunk(self.batches):
            loss = F.cross_entropy(self.network(self.crop(images[indices])), labels[indices])
            self.optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            yield loss.detach()

    def crop(self, images: Tensor) -> Tensor:
        """Crop each image ``[rows, 28, 28]`` at its own random offset, to the same shape."""
        padded = F.pad(images, [self.padding] * 4)
        corners = torch.randint(2 * self.padding + 1, (2, len(images), 1), generator=self.generator)
        y, x = corners + torch.arange(SIDE)
        return padded[torch.arange(len(images))[:, None, None], y[:, :, None], x[:, None, :]]

    def validate(self) -> float:
        """The error rate with the training solver."""
        images, labels = self.dataset.validation
        backend = TorchBackend(copy.deepcopy(self.network))  # the backend freezes the parameters of its network
        answer = classify(backend, images.numpy(), None, VALIDATION_BATCH)
        return float((answer.digits != labels.numpy()).mean())


def race(trainer: Trainer, target: float, limit: float = math.inf) -> Iterator[Sample]:
    """Train until a validation error, the last epoch or a time limit; validate after each epoch and at the end.

    Args:
        trainer: a training that has not started.
        target: the validation error to reach.
        limit: seconds of processor time for training; training stops after the batch that exceeds them.
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
    """A sentence that says how many times as long the example took.

    Args:
        ours: the last validation of the fit with the recipe, which reached the target.
        example: the last validation of the example, which may not have reached the target.
        target: the validation error to reach.
    """
    times = f"{example.seconds / ours.seconds:.1f} times"
    if example.error <= target:
        return f"{EXAMPLE} took {times} as long to {target:.2%}"
    return f"{EXAMPLE} takes at least {times} as long to {target:.2%}; it was stopped at {example.error:.2%}"


def draw(ours: list[Sample], example: list[Sample], target: float, path: Path) -> None:
    """Draw the validation error over the seconds of training.

    Args:
        ours: the validations of the fit with the recipe.
        example: the validations of torchdiffeq's example.
        target: the validation error to reach.
        path: the SVG file.
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
        float, typer.Option(min=0, help="Stop the example after this many times the seconds of our fit.")
    ] = 10.0,
    threads: Annotated[int, typer.Option(min=1, help="Threads to compute with.")] = 1,
) -> None:
    """Fit until a validation error; then train torchdiffeq's example until the same error or its time limit."""
    try:
        settings = read_recipe(recipe)
    except RecipeError as refusal:
        raise typer.BadParameter(str(refusal)) from refusal
    torch.set_num_threads(threads)
    console = Console(highlight=False)
    dataset = load()
    ours = _printed(console, OURS, race(Ours(Fit(settings, dataset, torch.device("cpu"), SEED)), target))
    if ours[-1].error > target:
        console.print(f"{recipe} ends without reaching {target:.2%}")
        raise typer.Exit(1)
    example = _printed(console, EXAMPLE, race(Example(dataset, SEED), target, factor * ours[-1].seconds))
    table = Table("", "processor seconds", "epochs", "seconds per epoch", "validation error")
    for name, (seconds, epochs, error) in ((OURS, ours[-1]), (EXAMPLE, example[-1])):
        table.add_row(name, f"{seconds:,.1f}", f"{epochs:.2f}", f"{seconds / epochs:,.1f}", f"{error:.2%}")
    console.print(table)
    console.print(verdict(ours[-1], example[-1], target))
    draw(ours, example, target, FIGURE)


def _printed(console: Console, name: str, samples: Iterator[Sample]) -> list[Sample]:
    """Print each sample of a race as it comes, and return them all."""
    seen = []
    for sample in samples:
        console.print(f"{name}: {sample}")
        seen.append(sample)
    return seen


if __name__ == "__main__":
    typer.run(main)
