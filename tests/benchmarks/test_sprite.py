"""The digits that the page offers are those that the program chooses."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.sprite import STATIC, choose
from training.data import Dataset, Split

TOLD: dict[str, Any] = json.loads((STATIC / "digits.json").read_text(encoding="utf-8"))
SAMPLE = 500
"""Validation digits that compete with the offered digits; all 5,000 compete in the nightly test."""


def offered() -> list[bytes]:
    """The pixels of the digits in the page's file, in order."""
    sprite = np.asarray(Image.open(STATIC / "digits.png"))
    places = (divmod(place, TOLD["columns"]) for place in range(len(TOLD["labels"])))
    return [sprite[28 * row : 28 * row + 28, 28 * column : 28 * column + 28].tobytes() for row, column in places]


def check(split: Split) -> None:
    """Check that the program chooses the offered digits from a split."""
    first, begin, hard = choose(split)
    chosen = [*first, begin, *hard]
    assert TOLD["labels"][: TOLD["easy"]] == list(range(10))
    assert TOLD["labels"] == split.labels[chosen].tolist()
    assert chosen[TOLD["begin"]] == begin
    assert offered() == [split.images[row].numpy().tobytes() for row in chosen]


def test_the_program_chooses_the_offered_digits_among_some(mnist: Dataset) -> None:
    images, labels = mnist.validation
    rows_of = {image.numpy().tobytes(): row for row, image in enumerate(images)}
    kept = sorted({*range(SAMPLE), *(rows_of[pixels] for pixels in offered())})
    check(Split(images[kept], labels[kept]))


@pytest.mark.nightly
def test_the_program_chooses_the_offered_digits_among_all(mnist: Dataset) -> None:
    check(mnist.validation)
