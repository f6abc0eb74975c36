"""Figure 3 of Chen et al. 2018 (arXiv 1806.07366), on a fitted ODE-Net of this project.

The paper finds that (a) the numerical error falls as evaluations of f (NFE) are spent, (b) time is proportional to
them, (c) the adjoint equation takes about half as many back as the solve took forward, and (d) the network asks for
more of them as it is fitted. Measured at tolerances from 1e-1 to 1e-5, in float32 on one thread, on images of the
validation split:

a. the mean over images of the relative error of z(t1), against dopri5 at 1e-6;
b. the processor's time for a whole answer, stem and head included;
c. the NFE of the adjoint equation, whose batch is solved as one, against the mean forward NFE of that batch; how many
   it takes depends on the size to which the adjoint is brought (`models.solvers.adjoint.ADJOINT_SIZE`);
d. the mean NFE of each epoch's validation, where the folder holds the fit's metrics.

    python -m benchmarks.figure3 [FOLDER] [--method METHOD]

Writes docs/figures/figure3.svg. Takes a minute, most of it at the tightest tolerance.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.live import Live
from rich.table import Table
from torch import Tensor

from benchmarks import figures
from models import artifact as artifacts
from models.artifact import MANIFEST, METRICS, ArtifactError
from models.backends.torch import load_network as load_exported_network
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.solvers.adjoint import SolveError, solve_with_adjoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Solution, solve
from training.checkpoint import CheckpointError
from training.data import Split, load
from training.profile import REFERENCE
from training.run import load_network

FIGURE = figures.FOLDER / "figure3.svg"
FITTED = Path(artifacts.__file__).parent / "fitted" / "odenet"
TOLERANCES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
IMAGES = 256
BACKWARD_IMAGES = 64
PASSES = 3
ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]


class Point(NamedTuple):
    """What a solve gives and costs at one tolerance.

    Attributes:
        tolerance: rtol and atol.
        nfe: evaluations of f, the mean over images.
        error: relative error of z(t1), the mean over images.
        seconds: of a whole answer, for each image.
        forward_nfe: as `nfe`, over the images of the backward pass alone.
        backward_nfe: evaluations of the adjoint equation; None where it was given up.
    """

    tolerance: float
    nfe: float
    error: float
    seconds: float
    forward_nfe: float
    backward_nfe: int | None


def open_network(target: Path) -> tuple[Network, Path]:
    """The network of a run folder, of an artifact or of the newest version of one, and that folder.

    Raises:
        ArtifactError: the artifact cannot be trusted or read.
        CheckpointError: the run has no checkpoint or no config that can be read.
    """
    folder = artifacts.newest(target) or target
    if (folder / MANIFEST).is_file():
        return load_exported_network(artifacts.read(folder)), folder
    network, _ = load_network(folder, torch.device("cpu"))
    return network, folder


def measure(network: ODENet, method: str, split: Split) -> Iterator[Point]:
    """Measure a method at each tolerance.

    Args:
        network: a fitted one; its gradients are written to.
        method: an adaptive one.
        split: the images, of which the first 64 go through the backward pass.
    """
    few = Split(*(column[:BACKWARD_IMAGES] for column in split))
    with torch.no_grad():
        z = network.stem(split.images)
    exact = _solve(network, z, REFERENCE).z
    for tolerance in TOLERANCES:
        solver = SolverSettings.adaptive(method, tolerance)
        solution = _solve(network, z, solver)
        yield Point(
            tolerance,
            nfe=float(solution.nfe.double().mean()),
            error=float(((solution.z - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)).mean()),
            seconds=_seconds(network, few.images, solver) / len(few.labels),
            forward_nfe=float(solution.nfe[: len(few.labels)].double().mean()),
            backward_nfe=backward_nfe(network, solver, few),
        )


def backward_nfe(network: ODENet, solver: SolverSettings, split: Split) -> int | None:
    """How many evaluations the adjoint equation of a batch takes; None where it or the solve is given up."""
    observed: list[Solution] = []
    z = network.stem(split.images)
    try:
        end = solve_with_adjoint(network.step(solver.method), z, **solver.arguments, observe_backward=observed.append).z
        F.cross_entropy(network.head(end), split.labels).backward()  # type: ignore[no-untyped-call]
    except SolveError:
        return None
    return int(observed[0].nfe)


def training_nfe(folder: Path) -> list[float]:
    """The mean NFE of each epoch's validation; empty where the folder holds no metrics."""
    path = folder / METRICS
    if not path.is_file():
        return []
    return [float(json.loads(line)["validation_nfe"]) for line in path.read_text().splitlines()]


def findings(points: list[Point], epochs: list[float]) -> Iterator[tuple[str, str, str]]:
    """What each panel shows: a number, what the paper leads one to expect of it, and what it is here.

    Args:
        points: what was measured.
        epochs: the NFE of each epoch's validation.
    """
    nfe, error, seconds, forward = (np.array(column) for column in list(zip(*points, strict=True))[1:5])
    order = np.polyfit(np.log(nfe), np.log(error), 1)[0]
    yield "a. error goes with NFE to the power", "below 0", f"{order:.2f}"
    yield "b. correlation of time and NFE", "1", f"{np.corrcoef(forward, seconds)[0, 1]:.3f}"
    ratios = [point.backward_nfe / point.forward_nfe for point in points if point.backward_nfe is not None]
    given_up = len(points) - len(ratios)
    if ratios:
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        yield "c. backward NFE over forward NFE, the median", "about 0.5", spread
    yield "c. gradients that were given up", "0", f"{given_up} of {len(points)}"
    if epochs:
        yield "d. NFE of the last epoch over that of the first", "above 1", f"{epochs[-1] / epochs[0]:.2f}"


def draw(points: list[Point], epochs: list[float], path: Path) -> None:
    """Draw the panels; (d) is left out where there are no epochs.

    Args:
        points: what was measured.
        epochs: the NFE of each epoch's validation.
        path: of the SVG file.
    """
    panels = 4 if epochs else 3
    figure = Figure(figsize=(3.4 * panels, 3.4), layout="constrained")
    error_axes, time_axes, backward_axes, *training_axes = figure.subplots(1, panels)
    nfe = [point.nfe for point in points]
    style = {"marker": "o", "markersize": 4, "linewidth": 1}
    error_axes.semilogy(nfe, [point.error for point in points], **style)
    figures.label(error_axes, "a. numerical error", "forward NFE", "mean relative error of z(t1)")
    time_axes.plot([point.forward_nfe for point in points], [1e3 * point.seconds for point in points], **style)
    figures.label(time_axes, "b. time", "forward NFE", "ms an image")
    _draw_backward(backward_axes, points)
    for axes in training_axes:
        axes.plot(range(1, len(epochs) + 1), epochs, **style)
        figures.label(axes, "d. NFE in training", "epoch", "validation NFE")
    figures.save(figure, path)


def main(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, or that of an artifact or of its newest version.")
    ] = FITTED,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(ADAPTIVE)}.")] = "dopri5",
) -> None:
    """Reproduce figure 3 of Chen et al. 2018 on a fitted ODE-Net, and draw docs/figures/figure3.svg."""
    if method not in ADAPTIVE:
        raise typer.BadParameter(f"{method} is not one of {', '.join(ADAPTIVE)}")
    try:
        network, opened = open_network(folder)
    except (ArtifactError, CheckpointError) as error:
        raise typer.BadParameter(str(error)) from error
    if not isinstance(network, ODENet):
        raise typer.BadParameter(f"{opened}: its network solves no ODE")
    torch.set_num_threads(1)
    console = Console()
    split = Split(*(column[:IMAGES] for column in load().validation))
    epochs = training_nfe(opened)
    points = []
    table = Table("tolerance", "NFE", "relative error", "ms an image", "forward NFE", "backward NFE", "ratio")
    with Live(table, console=console, vertical_overflow="visible"):
        for point in measure(network, method, split):
            points.append(point)
            table.add_row(*_cells(point))
    shown = Table("figure 3", "the paper", "here")
    for finding in findings(points, epochs):
        shown.add_row(*finding)
    console.print(f"\n{method}, {opened}", highlight=False)
    console.print(shown)
    draw(points, epochs, FIGURE)


def _solve(network: ODENet, z: Tensor, solver: SolverSettings) -> Solution:
    with torch.no_grad():
        return solve(network.step(solver.method), z, **solver.arguments)


def _seconds(network: ODENet, images: Tensor, solver: SolverSettings) -> float:
    """The best of some passes: whatever else the machine does can only make one slower."""
    seconds = []
    for _ in range(PASSES):
        started = time.process_time()
        with torch.no_grad():
            network(images, solver)
        seconds.append(time.process_time() - started)
    return min(seconds)


def _draw_backward(axes: Axes, points: list[Point]) -> None:
    """Backward against forward NFE, with the line on which they are equal; what was given up has no point."""
    solved = [(point.forward_nfe, point.backward_nfe) for point in points if point.backward_nfe is not None]
    axes.plot(*zip(*solved, strict=True), marker="o", markersize=4, linewidth=1)
    axes.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=1, label="equal")
    figures.label(axes, "c. the adjoint's NFE", "forward NFE", "backward NFE")
    axes.legend(fontsize=8)


def _cells(point: Point) -> tuple[str, ...]:
    given_up = point.backward_nfe is None
    return (
        f"{point.tolerance:g}",
        f"{point.nfe:.1f}",
        f"{point.error:.2e}",
        f"{1e3 * point.seconds:.3f}",
        f"{point.forward_nfe:.1f}",
        "gave up" if given_up else str(point.backward_nfe),
        "-" if given_up else f"{(point.backward_nfe or math.nan) / point.forward_nfe:.2f}",
    )


if __name__ == "__main__":
    typer.run(main)
