"""Fits teachers in parallel on one CUDA device, and then their students in parallel.

The students are the networks of the recipes odenet-mnist and odenet-mnist-fast, which also learn from the teachers. The
program leaves out the second fits, of the recipes whose names end with "refined". The networks are small, so one fit
does not use the whole device, and several processes share it. Each run has a folder in runs/, which also holds a log.
If the program is interrupted, also by SIGTERM, it ends the fits. A second call resumes them.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from models.artifact import METRICS
from training.data import MNIST
from training.progress import duration
from training.run import CHECKPOINT
from training.signals import exit_at_sigterm

RUNS = Path("runs")
LOG = "log.txt"
POLL = 1.0  # seconds


class Planned(NamedTuple):
    """A planned fit: the name of a recipe and a seed."""

    recipe: str
    seed: int

    @property
    def folder(self) -> Path:
        """The run folder. The recipes of the students name their teachers by these folders."""
        return RUNS / f"{self.recipe}-{self.seed}"


STAGES = (
    tuple(Planned("teacher", seed) for seed in (1, 2, 3)),
    (
        *(Planned("odenet-mnist-distilled", seed) for seed in (1, 2, 3)),
        *(Planned("odenet-mnist-fast-distilled", seed) for seed in (1, 2)),
    ),
)
"""The fits of a stage run in parallel, and a stage starts when the stage before it has ended."""


class FitFailedError(Exception):
    """A fit ended with an error; the message contains the last lines of its log."""


def fit_together(stage: tuple[Planned, ...], data: Path, device: str, epochs: int | None) -> None:
    """Run the fits of a stage in parallel, each in a separate process, until all have ended.

    Args:
        stage: the fits to run.
        data: the folder of the digits.
        device: the device to compute on: auto, cpu or cuda.
        epochs: the number of epochs; None uses the number in each recipe.

    Raises:
        FitFailedError: a fit has failed; the other fits were terminated.
    """
    threads = max(1, (os.cpu_count() or 1) // len(stage))
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "COLUMNS": "200"}
    processes: dict[Planned, subprocess.Popen[bytes]] = {}
    try:
        for fit in stage:
            fit.folder.mkdir(parents=True, exist_ok=True)
            with (fit.folder / LOG).open("ab") as log:
                arguments = command(fit, data, device, epochs)
                processes[fit] = subprocess.Popen(arguments, stdout=log, stderr=log, env=environment)  # noqa: S603
        while any(process.poll() is None for process in processes.values()):
            _raise_if_failed(processes)
            time.sleep(POLL)
        _raise_if_failed(processes)
    finally:
        for process in processes.values():
            process.terminate()  # has no effect on a process that has ended
        for process in processes.values():
            process.wait()


def command(fit: Planned, data: Path, device: str, epochs: int | None) -> list[str]:
    """The command line of a fit. It resumes the fit if the run folder has a checkpoint."""
    options = ["--run", str(fit.folder), "--seed", str(fit.seed), "--data", str(data), "--device", device]
    if epochs is not None:
        options += ["--epochs", str(epochs)]
    if (fit.folder / CHECKPOINT).exists():
        options.append("--resume")
    return [sys.executable, "-m", "training", "fit", fit.recipe, *options]


def _raise_if_failed(processes: dict[Planned, subprocess.Popen[bytes]]) -> None:
    for fit, process in processes.items():
        if process.poll():
            last_lines = (fit.folder / LOG).read_text(errors="replace").splitlines()[-5:]
            raise FitFailedError(f"{fit.folder}: the fit ended with {process.returncode}\n" + "\n".join(last_lines))


def validation_error(fit: Planned) -> float:
    """The error rate on the validation split after the last epoch."""
    last = (fit.folder / METRICS).read_text().splitlines()[-1]
    return float(json.loads(last)["validation_error"])


def main(
    data: Annotated[Path, typer.Option(help="Folder of four IDX files with MNIST's file names.")] = MNIST,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "cuda",
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs, instead of the number in each recipe.")
    ] = None,
) -> None:
    """Fit teachers and students, and print which student of each recipe has the lowest validation error."""
    console, started = Console(highlight=False, soft_wrap=True), time.perf_counter()
    try:
        for stage in STAGES:
            console.print("fitting " + ", ".join(str(fit.folder) for fit in stage))
            fit_together(stage, data, device, epochs)
    except FitFailedError as failure:
        typer.secho(f"error: {failure}", fg="red", err=True)
        raise typer.Exit(1) from failure
    console.print(f"all fits ended after {duration(time.perf_counter() - started)}")
    table = Table("run", "validation error", "")
    for recipe in dict.fromkeys(fit.recipe for stage in STAGES for fit in stage):
        errors = {fit: validation_error(fit) for stage in STAGES for fit in stage if fit.recipe == recipe}
        best = min(errors, key=lambda fit: errors[fit])
        for fit, error in errors.items():
            table.add_row(str(fit.folder), f"{error:.2%}", "least error of its recipe" if fit == best else "")
    console.print(table)


if __name__ == "__main__":
    exit_at_sigterm()
    typer.run(main)
