"""What is read from pictures of each kind, and how sure the model is of what shows no digit.

    python -m benchmarks.pictures

Preprocessing was tuned on digits of the validation split; the test split is for reporting.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from scipy.stats import mannwhitneyu

from benchmarks.pictures.kinds import DIGITS, OUTLIERS
from models import artifact as artifacts
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from service.pictures import BlankPictureError, decode
from training.cli import SplitName
from training.data import load

MAX_PIXELS = 16 * 2**20
SHIPPED = Path(artifacts.__file__).parent / "fitted" / "odenet-mnist" / "2"

Floats = npt.NDArray[np.float32]


class Reader:
    """Reads pictures as the service does, by the shipped model."""

    def __init__(self) -> None:
        self._manifest = artifacts.read(SHIPPED).manifest
        self._backend = OnnxBackend(SHIPPED, self._manifest.methods)

    def __call__(self, files: list[bytes]) -> tuple[npt.NDArray[np.int64], Floats]:
        """The digits, -1 for a picture that is refused as blank, and their probabilities, 0 for that."""
        images = np.zeros((len(files), 28, 28), np.uint8)
        shown = np.ones(len(files), bool)
        for row, content in enumerate(files):
            try:
                images[row] = decode(content, MAX_PIXELS)
            except BlankPictureError:
                shown[row] = False
        answer = classify(self._backend, images, self._manifest.default_solver)
        confidence = answer.probabilities(self._manifest.temperature).max(axis=1)
        return np.where(shown, answer.digits, -1), np.where(shown, confidence, 0)


def auroc(positive: Floats, negative: Floats) -> float:
    """The chance that one of the positive is greater than one of the negative."""
    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


def main(
    split: Annotated[SplitName, typer.Option(help="The test split is for reporting.")] = SplitName.test,
    rows: Annotated[int, typer.Option(min=1, help="Pictures of each kind.")] = 100,
) -> None:
    """Print both tables."""
    read, dataset = Reader(), load()
    images, labels = (
        column[:rows].numpy() for column in (dataset.test if split is SplitName.test else dataset.validation)
    )
    typer.echo(f"| pictures | right, of {rows} | refused as blank |\n| --- | --- | --- |")
    everything = []
    for name, make in DIGITS.items():
        shown = enumerate(zip(images, labels.tolist(), strict=True))
        digits, confidence = read([make(*each, np.random.default_rng([1, row])) for row, each in shown])
        everything.append(confidence)
        typer.echo(f"| {name} | {(digits == labels).mean():.1%} | {(digits < 0).sum()} |")
    of_digits = np.concatenate(everything)
    typer.echo("\n| pictures | refused as blank | greatest probability, median | above 0.9 | AUROC |")
    typer.echo("| --- | --- | --- | --- | --- |")
    typer.echo(f"| all the digits above | {_told(of_digits)} | |")
    for name, outlier in OUTLIERS.items():
        _, confidence = read([outlier(np.random.default_rng([2, row])) for row in range(rows)])
        typer.echo(f"| {name} | {_told(confidence)} | {auroc(of_digits, confidence):.3f} |")


def _told(confidence: Floats) -> str:
    """The cells of pictures, of which those of no confidence were refused."""
    return f"{(confidence == 0).mean():.1%} | {np.median(confidence):.3f} | {(confidence > 0.9).mean():.1%}"


if __name__ == "__main__":
    typer.run(main)
