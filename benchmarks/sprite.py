"""The sample digits of the service's page: ``python -m benchmarks.sprite``.

The digits are from MNIST's validation split, which the network was not fitted on. They are the first image of each
digit, the image that the page shows first, and the images that the shipped network is least certain of at its default
solver.

The image that the page shows first makes the effect of the tolerance visible: the loose solve, at the page's first
tolerance, classifies it wrongly, and the default solve and a tight solve classify it correctly. Among such images we
take the one that the default solve is most certain of.

The program draws the digits side by side into one PNG, and writes their labels into a JSON file.
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
LOOSE = SolverSettings.adaptive("heun2", 1.0)  # the page's first setting
TIGHT = SolverSettings.adaptive("dopri5", 1e-5)
COLUMNS = 12


class Chosen(NamedTuple):
    """Row indices of the chosen images in a split.

    Attributes:
        first: the first image of each digit.
        begin: the image that the page shows first.
        hard: the images that the network is least certain of.
    """

    first: list[int]
    begin: int
    hard: list[int]


def choose(split: Split) -> Chosen:
    """Choose the sample digits of the page.

    Raises:
        FileNotFoundError: the folder has no version of the network.
        ValueError: there is no digit that the loose solve classifies wrongly, and the other two correctly.
    """
    folder = newest(FITTED)
    if folder is None:
        raise FileNotFoundError(f"{FITTED}: has no version of the network")
    manifest = artifacts.read(folder).manifest
    backend, images, labels = OnnxBackend(folder, manifest.methods), split.images.numpy(), split.labels.numpy()
    loose, default, tight = (classify(backend, images, solver) for solver in (LOOSE, manifest.default_solver, TIGHT))
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(CLASSES)]
    certainty = default.probabilities(manifest.temperature).max(axis=1)
    shows = (loose.digits != labels) & (default.digits == labels) & (tight.digits == labels)
    if not shows.any():
        raise ValueError(f"{folder}: no digit is wrong in the loose solve and right in the default and the tight solve")
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
    description = {
        "columns": COLUMNS,
        "labels": split.labels[chosen].tolist(),
        "easy": len(first),
        "begin": len(first),
    }
    (STATIC / "digits.json").write_text(json.dumps(description) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
