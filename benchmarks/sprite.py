"""The digits that the service's page offers: ``python -m benchmarks.sprite``.

They are from MNIST's validation split, which the network was not fitted on: the first of each digit, and then those of
which the network that ships is least certain at its default solver. The page begins with the least certain that the
default solver reads wrongly and a tight one rightly. Drawn side by side into one PNG, with their labels beside it.
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
from training.data import CLASSES, Split, load
from training.profile import REFERENCE

ROOT = Path(__file__).parents[1]
FITTED = ROOT / "models" / "fitted" / "odenet-mnist"
STATIC = ROOT / "service" / "web" / "static"
HARD = 14
COLUMNS = 12


class Chosen(NamedTuple):
    """Rows of a split.

    Attributes:
        first: of each digit.
        hard: those that the network is least certain of.
        begin: the one of them that the page begins with.
    """

    first: list[int]
    hard: list[int]
    begin: int


def choose(split: Split) -> Chosen:
    """The digits that the page offers.

    Raises:
        FileNotFoundError: no version of the network is there.
        ValueError: no digit is hard, read wrongly by the default solver, and rightly by a tight one.
    """
    folder = newest(FITTED)
    if folder is None:
        raise FileNotFoundError(f"{FITTED}: no version of the network is there")
    manifest = artifacts.read(folder).manifest
    backend, images, labels = OnnxBackend(folder, manifest.methods), split.images.numpy(), split.labels.numpy()
    answer = classify(backend, images, manifest.default_solver)
    first = [int(np.flatnonzero(labels == digit)[0]) for digit in range(CLASSES)]
    hard = np.argsort(answer.probabilities(manifest.temperature).max(axis=1), kind="stable")[:HARD]
    tight = classify(backend, images[hard], REFERENCE)
    begin = hard[(answer.digits[hard] != labels[hard]) & (tight.digits == labels[hard])]
    if len(begin) == 0:
        raise ValueError(f"{folder}: of the {HARD} hardest digits a tighter solve puts none right")
    return Chosen(first, hard.tolist(), int(begin[0]))


def main() -> None:
    """Choose the digits, and write ``digits.png`` and ``digits.json`` into the page's files."""
    split = load().validation
    first, hard, begin = choose(split)
    chosen = [*first, *hard]
    images = split.images.numpy()[chosen]
    rows = [np.hstack(list(images[start : start + COLUMNS])) for start in range(0, len(chosen), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(STATIC / "digits.png", optimize=True)
    told = {
        "columns": COLUMNS,
        "labels": split.labels[chosen].tolist(),
        "easy": len(first),
        "begin": chosen.index(begin),
    }
    (STATIC / "digits.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
