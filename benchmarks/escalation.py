"""How often the default of the service gives the digit of a tight solve, and what it costs.

    python -m benchmarks.escalation [--split validation|test]

The default solves an image by the first rung of a ladder, and again by the second rung if the margin is small. The
solvers and the threshold were chosen on the validation split. The table has one row for the model's default settings
without escalation, one for the first rung alone, and one for the ladder. Agreement is the share of images with the
digit of the tight reference; its bound is the lower bound of a one-sided confidence interval at 95 % (Clopper and
Pearson 1934). On the validation split, the bound of the ladder does not count the choice of the solvers; on the test
split, there was no choice. The expected calibration error (ECE) uses the temperature of the model. On the validation
split, the program also writes docs/figures/agreement.svg, which the model card of the default network has too.
"""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer

from benchmarks import figures
from benchmarks.processor import processor
from models import artifact as artifacts
from models.artifact import Artifact
from models.backends.answer import Answer
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.profile import SUFFICIENT_AGREEMENT
from training.calibration import calibration
from training.data import Split, load
from training.evaluate import error_rate
from training.export.figure import draw_ladders
from training.ladders import CONFIDENCE, agreement_bound

FITTED = Path(artifacts.__file__).parent / "fitted"
MODELS = ("odenet-mnist", "odenet-mnist-fast")
FIGURE = figures.FOLDER / "agreement.svg"


class SplitName(StrEnum):
    """A split of the data."""

    validation = "validation"
    test = "test"


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        solve: how the images are solved.
        rows: the number of images.
        disagreements: the number of images with another digit than the tight reference.
        nfe: the mean number of evaluations of an image.
        escalated: the share of images that are solved again.
        error: the share of images that are classified wrongly.
        ece: the expected calibration error.
    """

    solve: str
    rows: int
    disagreements: int
    nfe: float
    escalated: float
    error: float
    ece: float

    def __str__(self) -> str:
        agreement, bound = 1 - self.disagreements / self.rows, agreement_bound(self.disagreements, self.rows)
        agreements = f"{self.disagreements} | {agreement:.2%} | {bound:.2%}"
        return (
            f"{self.solve} | {agreements} | {self.nfe:.2f} | {self.escalated:.2%} | {self.error:.2%} | {self.ece:.2%}"
        )


def measure(artifact: Artifact, split: Split) -> Iterator[Row]:
    """Measure a network with an ODE and with a ladder of two rungs.

    Raises:
        ValueError: the network has no such ladder.
    """
    manifest, profile = artifact.manifest, artifact.profile
    ladder = None if profile is None else profile.ladder_for(SUFFICIENT_AGREEMENT)
    if profile is None or ladder is None or len(ladder.rungs) != 2:
        raise ValueError(f"{artifact.folder}: has no ladder of two rungs for {SUFFICIENT_AGREEMENT}")
    images, labels = split.images.numpy(), split.labels.numpy()
    backend = OnnxBackend(artifact.folder, manifest.methods)
    reference = classify(backend, images, profile.reference).digits

    def row(solve: str, answer: Answer, escalated: float = 0.0) -> Row:
        ece = calibration(answer.logits, labels, manifest.temperature).ece
        error = error_rate(answer.digits, labels).rate
        disagreements = int((answer.digits != reference).sum())
        return Row(solve, len(labels), disagreements, float(answer.nfe.mean()), escalated, error, ece)

    loose, tight = ladder.rungs
    first = classify(backend, images, loose.solver)
    again = ~(first.margins >= (loose.threshold or 0.0))
    second = classify(backend, images[again], tight.solver)
    yield row(f"{manifest.default_solver}, the fixed default", classify(backend, images, manifest.default_solver))
    yield row(f"{loose.solver}, the first rung alone", first)
    logits, nfe = first.logits.copy(), first.nfe.copy()
    logits[again], nfe[again] = second.logits, nfe[again] + second.nfe
    yield row(f"{ladder}: the default", first._replace(logits=logits, nfe=nfe), float(np.mean(again)))


def main(
    split: Annotated[SplitName, typer.Option(help="The split to measure.")] = SplitName.validation,
) -> None:
    """Print the table for the fitted networks, as Markdown."""
    dataset = load()
    columns = dataset.test if split is SplitName.test else dataset.validation
    typer.echo(f"{len(columns.labels):,} {split} digits, on {processor()}; bounds at {CONFIDENCE:.0%} confidence\n")
    typer.echo(
        "| model | solve | other digit than the tight solve | agreement | bound | NFE | solved again | error | ECE |"
    )
    typer.echo("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name in MODELS:
        folder = artifacts.newest(FITTED / name)
        if folder is None:
            raise typer.BadParameter(f"{FITTED} has no model {name}")
        artifact = artifacts.read(folder)
        if name == MODELS[0] and split is SplitName.validation and artifact.profile is not None:
            draw_ladders(artifact.profile, FIGURE)
        for row in measure(artifact, columns):
            typer.echo(f"| {name} | {row} |")


if __name__ == "__main__":
    typer.run(main)
