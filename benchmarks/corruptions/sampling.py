"""The arrays that the corruptions work with, and interpolation between pixels."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from models.form import SIDE

Levels = npt.NDArray[np.float64]
"""Images ``[rows, 28, 28]``: 0 is black paper, 1 is white ink."""

Floats = npt.NDArray[np.floating[Any]]

CENTRE = (SIDE - 1) / 2
"""The coordinate of an image's centre, in pixels from the centre of the first pixel. Rotation and scaling keep it."""


def grid() -> tuple[Levels, Levels]:
    """The offset of each pixel below and to the right of the centre, each ``[28, 28]``."""
    down, right = np.mgrid[:SIDE, :SIDE] - CENTRE
    return down, right


def sampled(levels: Levels, down: Floats, right: Floats) -> Levels:
    """Sample images at other positions with bilinear interpolation. Everything outside an image is black.

    Args:
        levels: ``[rows, 28, 28]``.
        down: the position of each sample below the centre, in pixels; broadcast to ``[rows, 28, 28]``.
        right: the position of each sample to the right of the centre, of the same shape.
    """
    row = np.arange(len(levels))[:, np.newaxis, np.newaxis]
    places = np.broadcast_arrays(row, down + CENTRE, right + CENTRE)
    read: Levels = map_coordinates(levels, places, order=1)
    return read


def one_of(values: tuple[float, ...], rows: int, rng: np.random.Generator) -> Levels:
    """A random value for each row, each with the same probability, as ``[rows, 1, 1]``."""
    return rng.choice(values, (rows, 1, 1))


def between(low: float, high: float, rows: int, rng: np.random.Generator) -> Levels:
    """A random number for each row, uniform in an interval, as ``[rows, 1, 1]``."""
    return rng.uniform(low, high, (rows, 1, 1))
