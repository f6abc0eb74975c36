"""The errors of every network on corrupted digits, after MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337).

    python -m benchmarks.corruptions [--split test] [--rows ROWS] [--models FOLDER]

The program takes evenly spaced digits of a split and corrupts them in 26 ways (`kinds`). Each network in the models
folder classifies them twice: as arrays of 28x28, and as grey PNG pictures of ten times the size, which the service
decodes. A network with an ODE classifies them at three settings: its default, and the settings of a request with
`tolerance=1` and with `tolerance=1e-3`. A refused picture and a solve that does not converge count as errors.

Writes docs/figures/corruptions.svg.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks import figures
from benchmarks.corruptions.kinds import KINDS, corrupt
from benchmarks.corruptions.measure import measure, open_networks
from benchmarks.corruptions.report import CLEAN, draw, tables, with_means
from benchmarks.processor import processor
from models.artifact import FITTED, ArtifactError
from training.cli import SplitName
from training.data import load

FIGURE = figures.FOLDER / "corruptions.svg"


def main(
    models: Annotated[
        Path, typer.Option(help="A folder of artifacts. The newest version of each is measured.")
    ] = FITTED,
    split: Annotated[SplitName, typer.Option(help="The test split is for reporting.")] = SplitName.validation,
    rows: Annotated[int, typer.Option(min=1, help="How many digits of the split.")] = 1_000,
) -> None:
    """Print the errors of every network on 26 kinds of corrupted digits, and draw docs/figures/corruptions.svg."""
    try:
        networks = open_networks(models)
    except (ArtifactError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint="--models") from error
    if not networks:
        raise typer.BadParameter(f"{models}: has no artifact", param_hint="--models")
    dataset = load()
    images, labels = (column.numpy() for column in (dataset.test if split is SplitName.test else dataset.validation))
    if rows > len(labels):
        raise typer.BadParameter(f"{rows}: the {split} split has {len(labels)} digits", param_hint="--rows")
    chosen = np.arange(rows) * len(labels) // rows
    images, labels, seed = images[chosen], labels[chosen], list(SplitName).index(split)
    started, found = time.process_time(), []
    for number, kind in enumerate([CLEAN, *KINDS]):
        corrupted = images if kind == CLEAN else corrupt(kind, images, seed)
        found.append(measure(kind, networks, corrupted, labels))
        typer.echo(f"{number} of {len(KINDS)}: {kind}, {time.process_time() - started:.0f} s", err=True)
    found = with_means(found)
    typer.echo(
        f"{rows:,} digits of the {split} split; {processor()}, {time.process_time() - started:.0f} s of one core\n"
    )
    for line in tables(networks, found):
        typer.echo(line)
    draw(networks, found, FIGURE)


if __name__ == "__main__":
    typer.run(main)
