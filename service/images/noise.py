"""The noise of a picture: how much there is, and less of it."""

import numpy as np

from service.images.paper import Pixels

SPECKS = 0.015  # a picture of which this part is single pixels unlike their neighbours has salt and pepper
STANDS_OUT = 0.2  # a speck differs by more than this part of the picture's range of levels
NOISY = 0.05  # noise whose standard deviation is more than this part of the picture's range of levels is averaged


def without_specks(levels: Pixels) -> Pixels:
    """Remove salt and pepper: single pixels that are lighter or darker than all their neighbours but one.

    The pixels of a stroke have two neighbours of their own level, so they stay, however thin the stroke is (a
    rank-conditioned median filter: Hardie and Barner 1994). A picture with few such pixels is returned as it is.

    Args:
        levels: uint8 ``[height, width, channels]``.
    """
    least = STANDS_OUT * float(np.ptp(levels))
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

    Noise is what a pixel differs by from the mean of two neighbours, which are on opposite sides of it.
    """
    wide = levels.astype(np.int16)
    away = np.abs(2 * wide[:, 1:-1] - wide[:, :-2] - wide[:, 2:])
    if away.size == 0:
        return False
    deviation = 1.4826 * float(np.median(away)) / 6**0.5
    return deviation > NOISY * float(np.ptp(levels))


def smoothed(levels: Pixels) -> Pixels:
    """The picture, averaged over squares of 3 by 3 with the weights 1, 2, 1 along each side."""
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) // 16).astype(np.uint8)
