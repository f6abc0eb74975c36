"""Strokes across the digit, which MNIST-C added.

Each function takes levels ``[rows, 28, 28]`` of 0..1 and returns levels that may exceed 1; `kinds.corrupt` clips them.
"""

import numpy as np

from benchmarks.corruptions.sampling import Levels
from models.form import SIDE

COLUMNS = np.arange(SIDE)
ZIGZAG = 2, 25  # the first and the last column of the zigzag
PERIOD, AMPLITUDE = 8, 2  # of the zigzag, in pixels


def dotted_line(levels: Levels, rng: np.random.Generator) -> Levels:
    """Draw a dotted line from side to side between two random heights: two columns with ink, two without, and so on."""
    first, last = rng.integers(0, SIDE - 1, (2, len(levels), 1))
    shown = COLUMNS % 4 >= 2
    return levels + _stroke(first + (last - first) * COLUMNS / (SIDE - 1)) * shown


def zigzag(levels: Levels, rng: np.random.Generator) -> Levels:
    """Draw a zigzag nearly from side to side, which starts at a random height and rises or falls by up to 5 pixels.

    The zigzag has an amplitude of 2 pixels and a period of 8.
    """
    start, end = ZIGZAG
    height = rng.integers(0, SIDE - 1, (len(levels), 1))
    rise = rng.integers(-5, 5, (len(levels), 1))
    along = COLUMNS - start
    swing = AMPLITUDE * (1 - np.abs((along + PERIOD / 4) % PERIOD - PERIOD / 2) * 4 / PERIOD)
    shown = (start <= COLUMNS) & (end >= COLUMNS)
    return levels + _stroke(height + rise * along / (end - start) - swing) * shown


def _stroke(height: Levels) -> Levels:
    """The ink of a pen that passes each column at a given height.

    Args:
        height: ``[rows, 28]``, in pixels from the top.

    Returns:
        ``[rows, 28, 28]``: white on the path, and 1 + ln(1 - d / 2.3) at d pixels above or below it, as in MNIST-C;
        nothing is left at 1.5 pixels.
    """
    distance = np.abs(COLUMNS[:, np.newaxis] - height[:, np.newaxis])
    ink: Levels = np.maximum(0, 1 + np.log(np.maximum(1 - distance / 2.3, 1e-9)))
    return ink
