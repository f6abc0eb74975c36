"""Blur: through glass, out of focus, by motion, by a zoom during the exposure.

Each function takes levels ``[rows, 28, 28]`` of 0..1. The kinds are those of Hendrycks and Dietterich 2019
(arXiv 1903.12261), the strengths those of MNIST-C.
"""

import itertools

import numpy as np
from scipy.ndimage import convolve, gaussian_filter

from benchmarks.corruptions.sampling import Floats, Levels, between, grid, sampled

RADIUS = 3
GLASS_SIGMA = 0.7
GLASS_PASSES = 2
MOTION_SIGMA = 3.0
MOTION_LENGTH = 10
ZOOMS = np.arange(1, 1.31, 0.03)


def smoothed(levels: Levels, sigma: float) -> Levels:
    """Images under a Gaussian filter, whose sigma is in pixels."""
    blurred: Levels = gaussian_filter(levels, (0, sigma, sigma))
    return blurred


def glass_blur(levels: Levels, rng: np.random.Generator) -> Levels:
    """Blur with sigma 0.7, let pixels change places with neighbours, twice, and blur again (MNIST-C's severity 1).

    In a pass every pixel in turn changes places with the one above, the one to the left or the one between them, each
    with a probability of one in eight, and otherwise stays.
    """
    shuffled = smoothed(levels, GLASS_SIGMA)
    rows, height, width = shuffled.shape
    row = np.arange(rows)
    for _ in range(GLASS_PASSES):
        for down, right in itertools.product(range(height - 1, 0, -1), range(width - 1, 0, -1)):
            up, left = rng.integers(0, 2, (2, rows)) * rng.integers(0, 2, rows)
            other = row, down - up, right - left
            here = shuffled[:, down, right].copy()
            shuffled[:, down, right] = shuffled[other]
            shuffled[other] = here
    return smoothed(shuffled, GLASS_SIGMA)


def defocus_blur(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Spread each pixel over a disk of radius 3 (MNIST-C's severity 1)."""
    down, right = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disk = (down**2 + right**2 <= RADIUS**2).astype(float)
    spread: Levels = convolve(levels, disk[np.newaxis] / disk.sum())
    return spread


def streaked(levels: Levels, angle: Floats, sigma: float, length: int) -> Levels:
    """Images that moved during the exposure.

    As ImageMagick's motion blur, which MNIST-C calls, this has one end: a pixel is the mean of those that follow it in
    the direction of the motion, with the weights of half a normal distribution.

    Args:
        levels: ``[rows, 28, 28]``.
        angle: of the motion, in radians, clockwise from the right; ``[rows, 1, 1]``.
        sigma: of the weights, in pixels.
        length: where the weights end, in pixels.
    """
    down, right = grid()
    steps = np.arange(length + 1)
    weights = np.exp(-((steps / sigma) ** 2) / 2)
    moved = (sampled(levels, down + step * np.sin(angle), right + step * np.cos(angle)) for step in steps)
    total: Levels = sum(weight * image for weight, image in zip(weights, moved, strict=True)) / weights.sum()
    return total


def motion_blur(levels: Levels, rng: np.random.Generator) -> Levels:
    """Streak with sigma 3 over 10 pixels, at up to 45 degrees from the horizontal (MNIST-C's severity 1)."""
    angle = between(-np.pi / 4, np.pi / 4, len(levels), rng)
    return streaked(levels, angle, MOTION_SIGMA, MOTION_LENGTH)


def zoom_blur(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Take the mean over enlargements from 1 to 1.3, in steps of 0.03 (MNIST-C's severity 5)."""
    down, right = grid()
    mean: Levels = np.mean([levels, *(sampled(levels, down / zoom, right / zoom) for zoom in ZOOMS)], axis=0)
    return mean
