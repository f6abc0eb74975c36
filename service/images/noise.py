"""Measures and reduces the noise of a picture."""

import numpy as np
import numpy.typing as npt

from service.images.paper import Pixels

SPECKS = 0.015  # a picture has salt and pepper if this part of its pixels are single pixels unlike their neighbours
STANDS_OUT = 0.2  # a speck differs by more than this part of the picture's range of levels
NOISY = 0.05  # noise whose standard deviation is more than this part of the picture's range of levels is averaged


def without_specks(levels: Pixels) -> Pixels:
    """Remove salt and pepper: single pixels that are lighter or darker than all their neighbours except one.

    The pixels of a stroke have two neighbours of their own level, so they stay, however thin the stroke is (a
    rank-conditioned median filter: Hardie and Barner 1994). A picture with few such pixels is returned unchanged.

    Args:
        levels: uint8 ``[height, width, channels]``.
    """
    least = STANDS_OUT * float(np.ptp(levels))
    away = _from_neighbours(levels)
    if np.count_nonzero(away > 2 * least) < SPECKS * away.size:
        return levels
    for _ in range(2):
        low, high = _second_of_neighbours(levels)
        clipped = np.clip(levels, low, high)
        away = np.maximum(levels, clipped) - np.minimum(levels, clipped)
        specks = away > least
        if specks.mean() < SPECKS:
            break
        levels = np.where(specks, clipped, levels)
    return levels


def _second_of_neighbours(levels: Pixels) -> tuple[Pixels, Pixels]:
    """The second lowest and the second highest level among the eight neighbours of each pixel."""
    height, width = levels.shape[:2]
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[y : y + height, x : x + width] for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    lowest, highest = np.minimum(around[0], around[1]), np.maximum(around[0], around[1])
    low, high = highest, lowest
    for each in around[2:]:
        low = np.minimum(low, np.maximum(lowest, each))
        lowest = np.minimum(lowest, each)
        high = np.maximum(high, np.minimum(highest, each))
        highest = np.maximum(highest, each)
    return low, high


def is_noisy(levels: Pixels) -> bool:
    """Whether the noise of single pixels is a large part of the picture's range of levels.

    The estimate is the median difference between a pixel and the mean of its neighbours to the left and to the right.

    Args:
        levels: uint8 ``[height, width, channels]``.
    """
    away = _from_neighbours(levels)
    least = NOISY * float(np.ptp(levels)) * 6**0.5 / 1.4826
    return bool(2 * np.count_nonzero(away > least) > away.size)


def _from_neighbours(levels: Pixels) -> npt.NDArray[np.int16]:
    """Twice the difference between each pixel and the mean of its neighbours to the left and to the right."""
    wide = levels.astype(np.int16)
    away: npt.NDArray[np.int16] = np.abs(2 * wide[:, 1:-1] - wide[:, :-2] - wide[:, 2:])
    return away


def smoothed(levels: Pixels) -> Pixels:
    """The picture averaged over squares of 3 by 3 pixels, with the weights 1, 2, 1 along each side."""
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    mean: Pixels = ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) // 16).astype(np.uint8)
    return mean
