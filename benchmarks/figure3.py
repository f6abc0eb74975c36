"""Figure 3 of Chen et al. 2018 (arXiv 1806.07366), on a fitted ODE-Net of this project.

The paper finds that (a) the numerical error falls with the number of evaluations of f (NFE), (b) time is proportional
to the NFE, (c) the backward solve of the adjoint equation takes about half the NFE of the forward solve, and (d) the
NFE grows during training. We measure at tolerances from 1e-1 to 1e-5, in float32 on one thread, on images of the
validation split:

a. the mean relative error of z(t1) over the images, against dopri5 at 1e-6;
b. the processor time of a whole answer, including stem and head;
c. the NFE of the adjoint equation, which is solved for a whole batch at once, against the mean forward NFE of the same
   batch. This NFE depends on the size to which the adjoint is scaled (`models.solvers.adjoint.ADJOINT_SIZE`);
d. the mean NFE in the validation of each epoch, if the folder has the metrics of the fit.

    python -m benchmarks.figure3 [FOLDER] [--method METHOD]

Writes docs/figures/figure3.svg. The program takes a minute, most of it at the tightest tolerance.
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
    """The error and the cost of a solve at one tolerance.

    Attributes:
        tolerance: rtol and atol.
        nfe: evaluations of f, the mean over images.
        error: relative error of z(t1), the mean over images.
        seconds: processor time of a whole answer per image.
        forward_nfe: as `nfe`, but only over the images of the backward pass.
        backward_nfe: evaluations of the adjoint equation; None if its solve failed.
    """

    tolerance: float
    nfe: float
    error: float
    seconds: float
    forward_nfe: float
    backward_nfe: int | None


def open_network(target: Path) -> tuple[Network, Path]:
    """Load a network, and return it with the folder that it was loaded from.

    Args:
        target: a run folder, an artifact, or a folder of versions, whose newest version is loaded.

    Raises:
        ArtifactError: the artifact cannot be trusted or read.
        CheckpointError: the run has no readable checkpoint or no readable config, or has epochs left.
    """
    folder = artifacts.newest(target) or target
    if (folder / MANIFEST).is_file():
        return load_exported_network(artifacts.read(folder)), folder
    network, _ = load_network(folder, torch.device("cpu"))
    return network, folder


def measure(network: ODENet, method: str, split: Split) -> Iterator[Point]:
    """Measure a method at each tolerance.

    Args:
        network: a fitted network. Its gradients are overwritten.
        method: an adaptive method.
        split: the images; the backward pass uses only the first 64.
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
    """The number of evaluations of the adjoint equation for a batch; None if a solve, forward or backward, fails."""
    observed: list[Solution] = []
    z = network.stem(split.images)
    try:
        end = solve_with_adjoint(
            network.step(solver.method), z, **solver.arguments._asdict(), observe_backward=observed.append
        ).z
        F.cross_entropy(network.head(end), split.labels).backward()  # type: ignore[no-untyped-call]
    except SolveError:
        return None
    return int(observed[0].nfe)


def training_nfe(folder: Path) -> list[float]:
    """The mean NFE in the validation of each epoch; empty if the folder has no metrics."""
    path = folder / METRICS
    if not path.is_file():
        return []
    return [float(json.loads(line)["validation_nfe"]) for line in path.read_text().splitlines()]


def findings(points: list[Point], epochs: list[float]) -> Iterator[tuple[str, str, str]]:
    """The finding of each panel: a quantity, the value that the paper suggests, and the value measured here.

    Args:
        points: the measurements.
        epochs: the NFE in the validation of each epoch.
    """
    nfe, error, seconds, forward = (np.array(column) for column in list(zip(*points, strict=True))[1:5])
    order = np.polyfit(np.log(nfe), np.log(error), 1)[0]
    yield "a. exponent of the error as a power of NFE", "below 0", f"{order:.2f}"
    yield "b. correlation of time and NFE", "1", f"{np.corrcoef(forward, seconds)[0, 1]:.3f}"
    ratios = [point.backward_nfe / point.forward_nfe for point in points if point.backward_nfe is not None]
    failed = len(points) - len(ratios)
    if ratios:
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        yield "c. backward NFE over forward NFE, the median", "about 0.5", spread
    yield "c. gradients that failed", "0", f"{failed} of {len(points)}"
    if epochs:
        yield "d. NFE of the last epoch over NFE of the first", "above 1", f"{epochs[-1] / epochs[0]:.2f}"


def draw(points: list[Point], epochs: list[float], path: Path) -> None:
    """Draw the panels. Panel (d) is left out if there are no epochs.

    Args:
        points: the measurements.
        epochs: the NFE in the validation of each epoch.
        path: the SVG file.
    """
    panels = 4 if epochs else 3
    figure = Figure(figsize=(3.4 * panels, 3.4), layout="constrained")
    error_axes, time_axes, backward_axes, *training_axes = figure.subplots(1, panels)
    nfe = [point.nfe for point in points]
    style = {"marker": "o", "markersize": 4, "linewidth": 1}
    error_axes.semilogy(nfe, [point.error for point in points], **style)
    figures.label(error_axes, "a. numerical error", "forward NFE", "mean relative error of z(t1)")
    time_axes.plot([point.forward_nfe for point in points], [1e3 * point.seconds for point in points], **style)
    figures.label(time_axes, "b. time", "forward NFE", "ms per image")
    _draw_backward(backward_axes, points)
    for axes in training_axes:
        axes.plot(range(1, len(epochs) + 1), epochs, **style)
        figures.label(axes, "d. NFE in training", "epoch", "validation NFE")
    figures.save(figure, path)


def main(
    folder: Annotated[
        Path, typer.Argument(help="A run folder, an artifact, or a folder of versions, whose newest version is used.")
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
    table = Table("tolerance", "NFE", "relative error", "ms per image", "forward NFE", "backward NFE", "ratio")
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
        return solve(network.step(solver.method), z, **solver.arguments._asdict())


def _seconds(network: ODENet, images: Tensor, solver: SolverSettings) -> float:
    """The processor time of the fastest of several passes, because other load can only slow a pass down."""
    seconds = []
    for _ in range(PASSES):
        started = time.process_time()
        with torch.no_grad():
            network(images, solver)
        seconds.append(time.process_time() - started)
    return min(seconds)


def _draw_backward(axes: Axes, points: list[Point]) -> None:
    """Draw backward against forward NFE, with the line of equality. A failed solve has no point."""
    solved = [(point.forward_nfe, point.backward_nfe) for point in points if point.backward_nfe is not None]
    axes.plot(*zip(*solved, strict=True), marker="o", markersize=4, linewidth=1)
    axes.axline((0, 0), slope=1, color="black", linestyle=":", linewidth=1, label="equal")
    figures.label(axes, "c. the adjoint's NFE", "forward NFE", "backward NFE")
    axes.legend(fontsize=8)


def _cells(point: Point) -> tuple[str, ...]:
    failed = point.backward_nfe is None
    return (
        f"{point.tolerance:g}",
        f"{point.nfe:.1f}",
        f"{point.error:.2e}",
        f"{1e3 * point.seconds:.3f}",
        f"{point.forward_nfe:.1f}",
        "failed" if failed else str(point.backward_nfe),
        "-" if failed else f"{(point.backward_nfe or math.nan) / point.forward_nfe:.2f}",
    )


if __name__ == "__main__":
    typer.run(main)
