"""Measures and reduces the noise of a picture."""

import numpy as np
import numpy.typing as npt

from service.images.paper import Pixels

SPECKS = 0.015  # a picture has salt and pepper if this part of its pixels are single pixels unlike their neighbours
STANDS_OUT = 0.2  # a speck differs by more than this part of the picture's range of levels
NOISY = 0.05  # noise whose standard deviation is more than this part of the picture's range of levels is averaged
TERCILE = 0.4307  # a third of a normal distribution is within this many standard deviations of its mean
COARSEST_GRAIN = 28  # the grain of the noise is at most the picture's longer side divided by this


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


def grain_of(levels: Pixels) -> int:
    """The distance in pixels over which the noise of a picture changes; 0 if the picture is not noisy.

    Noise of single pixels has a grain of 1. If a noisy picture was enlarged, the grain is coarser. We try the distances
    1, 2, 4 and so on up to the coarsest grain. At each distance, we estimate the standard deviation of the noise from
    the differences between a pixel and the mean of the two pixels at this distance to the left and to the right. The
    lower tercile of these differences ignores strokes and edges, even if most pixels are near them.

    Args:
        levels: uint8 ``[height, width, channels]``.
    """
    least = NOISY * float(np.ptp(levels)) * 6**0.5 * TERCILE
    coarsest = max(1, max(levels.shape) // COARSEST_GRAIN)
    for power in range(coarsest.bit_length() + 1):
        distance = min(2**power, coarsest)
        away = _from_neighbours(levels, distance)
        if 3 * np.count_nonzero(away > least) > 2 * away.size:
            return int(distance)
    return 0


def _from_neighbours(levels: Pixels, distance: int = 1) -> npt.NDArray[np.int16]:
    """Twice the difference between each pixel and the mean of the two pixels at a distance to the left and right."""
    wide = levels.astype(np.int16)
    outer = wide[:, : -2 * distance] + wide[:, 2 * distance :]
    away: npt.NDArray[np.int16] = np.abs(2 * wide[:, distance:-distance] - outer)
    return away


def smoothed(levels: Pixels) -> Pixels:
    """The picture averaged over squares of 3 by 3 pixels, with the weights 1, 2, 1 along each side."""
    padded = np.pad(levels, ((1, 1), (1, 1), (0, 0)), mode="edge").astype(np.uint16)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    mean: Pixels = ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:] + 8) // 16).astype(np.uint8)
    return mean
