"""Synthetic digits in MNIST's form: drawn from strokes in many ways of writing, or printed in a font.

They add digits that are rare in MNIST: ones with a flag or a foot, crossed and hooked sevens, pens of any width, and
printed digits.
"""

from collections.abc import Callable

import numpy as np
import torch

from models.form import Digit
from training.data import CLASSES, Split
from training.fonts import FACES, printed
from training.glyphs import DIGITS
from training.strokes import draw, random_hand

PRINTED = 4
"""One digit in this many is printed; the other digits are written."""


def make_digits(rows: int, seed: int) -> Split:
    """Make digits of every class in turn. One digit in four is printed.

    Args:
        rows: the number of digits, at least 1.
        seed: the seed of all random numbers. The same seed makes the same pictures with the same versions of Pillow,
            matplotlib (which contains the fonts), SciPy and NumPy.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    made = [KINDS[(row // CLASSES) % PRINTED == 0](int(label), rng) for row, label in enumerate(labels)]
    return Split(torch.from_numpy(np.stack(made)), torch.from_numpy(labels))


def _written(digit: int, rng: np.random.Generator) -> Digit:
    glyphs = DIGITS[digit]
    return draw(glyphs[rng.integers(len(glyphs))], random_hand(rng), rng)


def _printed(digit: int, rng: np.random.Generator) -> Digit:
    return printed(str(digit), FACES[rng.integers(len(FACES))], int(rng.integers(4)))


KINDS: dict[bool, Callable[[int, np.random.Generator], Digit]] = {False: _written, True: _printed}
"""The function that makes a digit, by whether the digit is printed."""
