"""The digits that the page offers are those that the program chooses."""

import json

import numpy as np
from PIL import Image

from benchmarks.sprite import STATIC, choose
from training.data import Dataset


def test_the_page_offers_the_validation_digits_that_are_chosen(mnist: Dataset) -> None:
    first, begin, hard = choose(mnist.validation)
    chosen = [*first, begin, *hard]
    told = json.loads((STATIC / "digits.json").read_text(encoding="utf-8"))
    assert told["labels"][: told["easy"]] == list(range(10))
    assert told["labels"] == mnist.validation.labels[chosen].tolist()
    assert chosen[told["begin"]] == begin
    sprite = np.asarray(Image.open(STATIC / "digits.png"))
    for place, row in enumerate(chosen):
        top, left = (28 * part for part in divmod(place, told["columns"]))
        assert (sprite[top : top + 28, left : left + 28] == mnist.validation.images[row].numpy()).all()
