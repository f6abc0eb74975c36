"""The form in which the corruptions compute, and how an image is read between its pixels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from models.form import SIDE

Levels = npt.NDArray[np.float64]
"""Images ``[rows, 28, 28]``: 0 is black paper, 1 is white ink."""

Floats = npt.NDArray[np.floating[Any]]

CENTRE = (SIDE - 1) / 2
"""Where the centre of an image is, in pixels from the centre of its first pixel; a turn or a scaling keeps it there."""


def grid() -> tuple[Levels, Levels]:
    """How far each pixel lies below and to the right of the centre, each ``[28, 28]``."""
    down, right = np.mgrid[:SIDE, :SIDE] - CENTRE
    return down, right


def sampled(levels: Levels, down: Floats, right: Floats) -> Levels:
    """Read images at other places, by bilinear interpolation; outside an image everything is black.

    Args:
        levels: ``[rows, 28, 28]``.
        down: how far below the centre each pixel is read, in pixels; broadcast to ``[rows, 28, 28]``.
        right: how far to the right of the centre it is read, likewise.
    """
    row = np.arange(len(levels))[:, np.newaxis, np.newaxis]
    places = np.broadcast_arrays(row, down + CENTRE, right + CENTRE)
    read: Levels = map_coordinates(levels, places, order=1)
    return read


def one_of(values: tuple[float, ...], rows: int, rng: np.random.Generator) -> Levels:
    """A value for each row, drawn evenly, as ``[rows, 1, 1]``."""
    return rng.choice(values, (rows, 1, 1))


def between(low: float, high: float, rows: int, rng: np.random.Generator) -> Levels:
    """A number for each row, drawn evenly from an interval, as ``[rows, 1, 1]``."""
    return rng.uniform(low, high, (rows, 1, 1))
