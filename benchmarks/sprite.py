"""The digits that the service's page offers: ``python -m benchmarks.sprite``.

They are from MNIST's validation split, which the network was not fitted on: the first of each digit, and then those of
which the network that ships is least certain at its default solver. Drawn side by side into one PNG, with their labels
beside it.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from models import artifact as artifacts
from models.artifact import newest
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from training.data import CLASSES, Split, load

ROOT = Path(__file__).parents[1]
FITTED = ROOT / "models" / "fitted" / "odenet-mnist"
STATIC = ROOT / "service" / "web" / "static"
HARD = 14
COLUMNS = 12


def choose(split: Split) -> tuple[list[int], list[int]]:
    """The rows of the first of each digit, and of those that the network is least certain of."""
    folder = newest(FITTED)
    if folder is None:
        raise FileNotFoundError(f"{FITTED}: no version of the network is there")
    manifest = artifacts.read(folder).manifest
    answer = classify(OnnxBackend(folder, manifest.methods), split.images.numpy(), manifest.default_solver)
    first = [int(np.flatnonzero(split.labels.numpy() == digit)[0]) for digit in range(CLASSES)]
    return first, np.argsort(answer.probabilities(manifest.temperature).max(axis=1), kind="stable")[:HARD].tolist()


def main() -> None:
    """Choose the digits, and write ``digits.png`` and ``digits.json`` into the page's files."""
    split = load().validation
    first, hard = choose(split)
    chosen = [*first, *hard]
    images = split.images.numpy()[chosen]
    rows = [np.hstack(list(images[start : start + COLUMNS])) for start in range(0, len(chosen), COLUMNS)]
    Image.fromarray(np.vstack(rows)).save(STATIC / "digits.png", optimize=True)
    told = {"columns": COLUMNS, "labels": split.labels[chosen].tolist(), "easy": len(first)}
    (STATIC / "digits.json").write_text(json.dumps(told) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
