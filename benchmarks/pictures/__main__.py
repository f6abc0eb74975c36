"""The answers to pictures of each kind, and the certainty of the answers to pictures without a digit.

    python -m benchmarks.pictures

A program makes all pictures. The preprocessing, and the weight of the outliers in a fit, were tuned on digits of the
validation split. The test split, with pictures of other seeds, is for reporting. Printed digits and letters use fonts
that no fit uses. "Letters" are the letters that do not look like a digit; "letters like digits" are the others. A fit
with outliers has seen the same letters in other fonts and drawn with a pen, signs (a star and crossed strokes among
them), numbers of handwritten digits, polygons, curves and textures. It has seen no letter like a digit and no
photograph.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from scipy.stats import mannwhitneyu

from benchmarks.pictures.decoding import decode_files
from benchmarks.pictures.kinds import DIGITS
from benchmarks.pictures.outliers import OUTLIERS
from models import artifact as artifacts
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from training.calibration import calibration_error
from training.cli import SplitName
from training.data import load

MOST_CONFUSED = 4  # confused pairs of digits that are printed for each kind of picture
SHIPPED = artifacts.FITTED / "odenet-mnist"

Digits = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


class Reader:
    """Decodes and classifies pictures like the service.

    Args:
        folder: an artifact, or a folder of versions, whose newest version is used.
    """

    def __init__(self, folder: Path = SHIPPED) -> None:
        opened = artifacts.read(artifacts.newest(folder) or folder)
        self._manifest = opened.manifest
        self._backend = OnnxBackend(opened.folder, self._manifest.methods)

    def __call__(self, files: list[bytes]) -> tuple[Digits, Floats]:
        """The digits and their probabilities; -1 and 0 for a refused picture."""
        images, shown = decode_files(files)
        answer = classify(self._backend, images, self._manifest.default_solver)
        confidence = answer.probabilities(self._manifest.temperature).max(axis=1)
        return np.where(shown, answer.digits, -1), np.where(shown, confidence, 0)


def auroc(positive: Floats, negative: Floats) -> float:
    """The probability that a random positive value is greater than a random negative value."""
    return float(mannwhitneyu(positive, negative).statistic / (len(positive) * len(negative)))


def main(
    artifact: Annotated[
        Path, typer.Argument(help="An artifact, or a folder of versions, whose newest version is used.")
    ] = SHIPPED,
    split: Annotated[SplitName, typer.Option(help="The test split is for reporting.")] = SplitName.test,
    rows: Annotated[int, typer.Option(min=1, help="Pictures of each kind.")] = 100,
) -> None:
    """Print both tables and the calibration of the answers."""
    read, dataset = Reader(artifact), load()
    images, labels = dataset.test if split is SplitName.test else dataset.validation
    seed = list(SplitName).index(split)
    confidence, right = _read_digits(read, images[:rows].numpy(), labels[:rows].numpy(), seed)
    other_confidence = _read_outliers(read, confidence, rows, seed)
    answered = confidence > 0
    confidence, right, other_confidence = confidence[answered], right[answered], other_confidence[other_confidence > 0]
    some = np.random.default_rng(3).permutation(len(right))[: len(other_confidence)]
    mixed = (
        np.concatenate([confidence[some], other_confidence]),
        np.concatenate([right[some], np.zeros_like(other_confidence, bool)]),
    )
    typer.echo(f"\nECE over the answers to pictures of digits: {calibration_error(confidence, right):.1%}")
    typer.echo(
        "ECE over equally many answers to digits and to pictures without a digit, where the latter all count as wrong: "
        f"{calibration_error(*mixed):.1%}"
    )


def _read_digits(read: Reader, images: Images, labels: Digits, seed: int) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Print the table of the digits, and return the confidence of each answer and whether it is right."""
    typer.echo(f"| pictures | right, of {len(labels)} | refused | above 0.9 | read as another digit |")
    typer.echo("| --- | --- | --- | --- | --- |")
    confidences, rightness = [], []
    for name, make in DIGITS.items():
        numbered = enumerate(zip(images, labels.tolist(), strict=True))
        digits, confidence = read([make(*each, np.random.default_rng([seed, 1, row])) for row, each in numbered])
        confidences.append(confidence)
        rightness.append(digits == labels)
        shares = f"{(digits == labels).mean():.1%} | {(digits < 0).sum()} | {(confidence > 0.9).mean():.1%}"
        typer.echo(f"| {name} | {shares} | {_confusions(labels, digits)} |")
    return np.concatenate(confidences), np.concatenate(rightness)


def _confusions(labels: Digits, digits: Digits) -> str:
    """The confused pairs of digits, the most frequent first."""
    wrong = (digits != labels) & (digits >= 0)
    pairs = Counter(zip(labels[wrong].tolist(), digits[wrong].tolist(), strict=True))
    return ", ".join(f"{count}x {label} as {digit}" for (label, digit), count in pairs.most_common(MOST_CONFUSED))


def _read_outliers(read: Reader, digit_confidence: Floats, rows: int, seed: int) -> Floats:
    """Print the table of the pictures without a digit, and return the confidence of each answer."""
    typer.echo("\n| pictures | refused | greatest probability, median | above 0.9 | AUROC |")
    typer.echo("| --- | --- | --- | --- | --- |")
    typer.echo(f"| all the digits above | {_cells(digit_confidence)} | |")
    confidences = []
    for name, outlier in OUTLIERS.items():
        _, confidence = read([outlier(np.random.default_rng([seed, 2, row])) for row in range(rows)])
        confidences.append(confidence)
        typer.echo(f"| {name} | {_cells(confidence)} | {auroc(digit_confidence, confidence):.3f} |")
    return np.concatenate(confidences)


def _cells(confidence: Floats) -> str:
    """The cells of a kind of picture. A confidence of 0 means that the picture was refused."""
    return f"{(confidence == 0).mean():.1%} | {np.median(confidence):.3f} | {(confidence > 0.9).mean():.1%}"


if __name__ == "__main__":
    typer.run(main)
