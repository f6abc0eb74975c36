"""The digits that the service's page offers: ``python -m benchmarks.sprite``.

They are from MNIST's validation split, which the network was not fitted on: the first of each digit, the one that the
page begins with, and those of which the network that ships is least certain at its default solver. The page begins with
a digit that the loose solve which it begins by reads wrongly, and the default one, more certain of it than of others
such, and a tight one rightly.
Drawn side by side into one PNG, with their labels beside it.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from models import artifact as artifacts
from models.artifact import newest
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings
from training.data import CLASSES, Split, load

ROOT = Path(__file__).parents[1]
FITTED = ROOT / "models" / "fitted" / "odenet-mnist"
STATIC = ROOT / "service" / "web" / "static"
HARD = 13
LOOSE = SolverSettings.adaptive("heun2", 1.0)  # by which the page begins
TIGHT = SolverSettings.adaptive("dopri5", 1e-5)
COLUMNS = 12


class Chosen(NamedTuple):
    """Rows of a split.

    Attributes:
        first: of each digit.
        begin: the one that the page begins with.
        hard: those that the network is least certain of.
    """

    first: list[int]
    begin: int
    hard: list[int]


def choose(split: Split) -> Chosen:
    """The digits that the page offers.

    Raises:
        FileNotFoundError: no version of the network is there.
        ValueError: no digit is read wrongly by the loose solve, and rightly by the others.
    """
    folder = newest(FITTED)
    if folder is None:
        raise FileNotFoundError(f"{FITTED}: no version of the network is there")
    manifest = artifacts.read(folder).manifest
    backend, images, labels = OnnxBackend(folder, manifest.methods), split.images.numpy(), split.labels.numpy()
    loose, default, tight = (classify(backend, images, solver) for solver in (LOOSE, manifest.default_solver, TIGHT))
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(CLASSES)]
    certainty = default.probabilities(manifest.temperature).max(axis=1)
    shows = (loose.digits != labels) & (default.digits == labels) & (tight.digits == labels)
    if not shows.any():
        raise ValueError(f"{folder}: no digit shows what a tolerance does")
    begin = int(np.argmax(np.where(shows, certainty, 0)))
    hard = np.argsort(certainty, kind="stable")[:HARD].tolist()
    return Chosen(first, begin, hard)


def main() -> None:
    """Choose the digits, and write ``digits.png`` and ``digits.json`` into the page's files."""
    split = load().validation
    first, begin, hard = choose(split)
    chosen = [*first, begin, *hard]
    images = split.images.numpy()[chosen]
    rows = [np.hstack(list(images[start : start + COLUMNS])) for start in range(0, len(chosen), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(STATIC / "digits.png", optimize=True)
    told = {
        "columns": COLUMNS,
        "labels": split.labels[chosen].tolist(),
        "easy": len(first),
        "begin": len(first),
    }
    (STATIC / "digits.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
