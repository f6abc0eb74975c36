"""Memory and time of a training step against depth: O(L), O(L~) and O(1).

Table 1 of Chen et al. 2018 (arXiv 1806.07366) claims how the memory for a gradient grows:

- for a ResNet, with the number of blocks;
- for an ODE-Net that is differentiated through its solver (RK-Net), with the number of evaluations;
- for an ODE-Net whose gradient comes from the adjoint equation, not at all.

Time grows with depth in all three. We measure networks before any fit, in float32 on one thread: the peak number of
bytes that autograd keeps, and the processor time of the forward and the backward pass. Both solves take the same steps
of RK4. The working memory of a single step is not counted, because it is the same at any depth.

    python -m benchmarks.memory

Writes docs/figures/memory.svg. Takes about a minute.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.live import Live
from rich.table import Table
from torch import Tensor

from benchmarks import figures
from models.networks.layers import Normalisation
from models.networks.odenet import ODENet
from models.networks.resnet import ResNet
from models.solvers.settings import SolverSettings
from training.cost import count_activations
from training.data import Split, load

FIGURE = figures.FOLDER / "memory.svg"
SEED = 0
IMAGES = 32
PASSES = 5
BLOCKS = (1, 2, 4, 8, 16, 32)
STEPS = (1, 2, 4, 8, 16)
EVALUATIONS_A_STEP = 4
UNITS = {"ResNet": "block", "RK-Net": "evaluation", "ODE-Net": "evaluation"}


class Point(NamedTuple):
    """The cost of a training step at one depth.

    Attributes:
        system: ResNet, RK-Net or ODE-Net.
        depth: the number of blocks of a ResNet; for the others, the number of evaluations in the forward pass.
        memory: peak bytes of activations per image.
        seconds: processor time of both passes per image; the fastest of several runs.
    """

    system: str
    depth: int
    memory: float
    seconds: float


class Growth(NamedTuple):
    """The slope of the least-squares line through the points of a system.

    Attributes:
        memory: bytes per image for each additional block or evaluation.
        seconds: processor seconds per image for each additional block or evaluation.
    """

    memory: float
    seconds: float


def measure(split: Split, normalisation: Normalisation) -> Iterator[Point]:
    """Measure the three systems, each at its depths.

    Args:
        split: the batch.
        normalisation: the normalisation of the batch's pixels.
    """
    for blocks in BLOCKS:
        torch.manual_seed(SEED)
        yield cost("ResNet", blocks, ResNet(normalisation, blocks=blocks), split)
    torch.manual_seed(SEED)
    network = ODENet(normalisation)
    for system, adjoint in (("RK-Net", False), ("ODE-Net", True)):
        for steps in STEPS:
            yield cost(system, EVALUATIONS_A_STEP * steps, solving(network, steps, adjoint=adjoint), split)


def solving(network: ODENet, steps: int, *, adjoint: bool) -> Callable[[Tensor], Tensor]:
    """A function from images to logits: the network, solved with a number of steps of RK4."""
    solver = SolverSettings(method="rk4", steps=steps)
    return lambda images: network(images, solver, adjoint=adjoint)


def cost(system: str, depth: int, network: Callable[[Tensor], Tensor], split: Split) -> Point:
    """Measure one system at one depth.

    Args:
        system: the name of the system.
        depth: the depth of the system.
        network: a function from images to logits.
        split: the batch.
    """
    split = Split(*(column.clone() for column in split))  # a slice would count the storage of the whole dataset
    with count_activations() as activations:
        _seconds(network, split)
    seconds = min(_seconds(network, split) for _ in range(PASSES))
    rows = len(split.labels)
    return Point(system, depth, activations.peak / rows, seconds / rows)


def growth(points: list[Point], system: str) -> Growth:
    """How the memory and the time of a system grow with its depth."""
    depth, memory, seconds = zip(*(point[1:] for point in points if point.system == system), strict=True)
    return Growth(*(float(np.polyfit(depth, column, 1)[0]) for column in (memory, seconds)))


def draw(points: list[Point], path: Path) -> None:
    """Draw memory and time against depth.

    Args:
        points: the measurements.
        path: the SVG file.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    memory_axes, time_axes = figure.subplots(1, 2)
    for system, unit in UNITS.items():
        depth, memory, seconds = zip(*(point[1:] for point in points if point.system == system), strict=True)
        style = {"label": f"{system}, by {unit}s", "marker": "o", "markersize": 4, "linewidth": 1}
        memory_axes.plot(depth, np.divide(memory, 1024), **style)
        time_axes.plot(depth, np.multiply(seconds, 1e3), **style)
    figures.label(memory_axes, "memory of the activations", "blocks or evaluations", "KiB per image")
    figures.label(time_axes, "time forward and backward", "blocks or evaluations", "ms per image")
    for axes in (memory_axes, time_axes):
        axes.set_ylim(bottom=0)
    memory_axes.legend(fontsize=8)
    figures.save(figure, path)


def main() -> None:
    """Measure memory and time of a training step against depth, and draw docs/figures/memory.svg."""
    torch.set_num_threads(1)
    console = Console()
    dataset = load()
    split = Split(*(column[:IMAGES] for column in dataset.validation))
    points = []
    table = Table("system", "depth", "KiB per image", "ms per image")
    with Live(table, console=console, vertical_overflow="visible"):
        for measured in measure(split, dataset.normalisation):
            points.append(measured)
            depth = f"{measured.depth} {UNITS[measured.system]}{'s' if measured.depth > 1 else ''}"
            table.add_row(measured.system, depth, f"{measured.memory / 1024:.1f}", f"{1e3 * measured.seconds:.3f}")
    console.print("\nslopes, by least squares")
    console.print(_slopes(points))
    draw(points, FIGURE)


def _slopes(points: list[Point]) -> Table:
    table = Table("system", "for each further", "bytes per image", "ms per image")
    for system, unit in UNITS.items():
        memory, seconds = growth(points, system)
        table.add_row(system, unit, f"{round(memory):,}", f"{1e3 * seconds:.3f}")
    return table


def _seconds(network: Callable[[Tensor], Tensor], split: Split) -> float:
    """The processor time of one training step. The gradients add up, which does not matter here."""
    started = time.process_time()
    F.cross_entropy(network(split.images), split.labels).backward()  # type: ignore[no-untyped-call]
    return time.process_time() - started


if __name__ == "__main__":
    typer.run(main)
