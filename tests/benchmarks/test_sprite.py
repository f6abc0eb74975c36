"""The sample digits in the page's files are the digits that the program chooses."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.sprite import STATIC, choose
from training.data import Dataset, Split

DESCRIPTION: dict[str, Any] = json.loads((STATIC / "digits.json").read_text(encoding="utf-8"))
SAMPLE = 100
"""How many validation digits the program chooses from; in the nightly test it chooses from all 5,000."""


def offered() -> list[bytes]:
    """The pixels of the digits in the page's PNG, in order."""
    sprite = np.asarray(Image.open(STATIC / "digits.png"))
    tiles = (divmod(index, DESCRIPTION["columns"]) for index in range(len(DESCRIPTION["labels"])))
    return [sprite[28 * row : 28 * row + 28, 28 * column : 28 * column + 28].tobytes() for row, column in tiles]


def check(split: Split) -> None:
    """Check that the program chooses the digits in the page's files from a split."""
    first, begin, hard = choose(split)
    chosen = [*first, begin, *hard]
    assert DESCRIPTION["labels"][: DESCRIPTION["easy"]] == list(range(10))
    assert DESCRIPTION["labels"] == split.labels[chosen].tolist()
    assert chosen[DESCRIPTION["begin"]] == begin
    assert offered() == [split.images[row].numpy().tobytes() for row in chosen]


def test_the_program_chooses_the_sample_digits_among_some(mnist: Dataset) -> None:
    images, labels = mnist.validation
    rows_of = {image.numpy().tobytes(): row for row, image in enumerate(images)}
    kept = sorted({*range(SAMPLE), *(rows_of[pixels] for pixels in offered())})
    check(Split(images[kept], labels[kept]))


@pytest.mark.nightly
def test_the_program_chooses_the_sample_digits_among_all(mnist: Dataset) -> None:
    check(mnist.validation)
