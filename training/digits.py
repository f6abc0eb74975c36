"""Synthetic digits: drawn from strokes in many ways of writing, or printed in a font, in MNIST's form.

They show a fit what the writers of MNIST rarely wrote: ones with a flag or a foot, crossed and hooked sevens, pens of
any width, and print.
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
"""One of so many is printed, the others are written."""


def make_digits(rows: int, seed: int) -> Split:
    """Digits of every class in turn, one in four printed.

    Args:
        rows: how many, at least 1.
        seed: of everything random; the same seed makes the same pictures, with the same versions of Pillow, matplotlib
            (whose fonts they are), SciPy and NumPy.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % CLASSES
    made = [KINDS[(row // CLASSES) % PRINTED == 0](int(label), rng) for row, label in enumerate(labels)]
    return Split(torch.from_numpy(np.stack(made)), torch.from_numpy(labels))


def _written(digit: int, rng: np.random.Generator) -> Digit:
    ways = DIGITS[digit]
    return draw(ways[rng.integers(len(ways))], random_hand(rng), rng)


def _printed(digit: int, rng: np.random.Generator) -> Digit:
    return printed(str(digit), FACES[rng.integers(len(FACES))], int(rng.integers(4)))


KINDS: dict[bool, Callable[[int, np.random.Generator], Digit]] = {False: _written, True: _printed}
"""Whether a digit is printed, and what makes it."""
