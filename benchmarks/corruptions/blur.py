"""Blur: frosted glass, defocus, motion, and a zoom during the exposure.

Each function takes levels ``[rows, 28, 28]`` of 0..1. The kinds come from Hendrycks and Dietterich 2019 (arXiv
1903.12261), and their strengths from MNIST-C.
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
    """Apply a Gaussian filter to images; sigma is in pixels."""
    blurred: Levels = gaussian_filter(levels, (0, sigma, sigma))
    return blurred


def glass_blur(levels: Levels, rng: np.random.Generator) -> Levels:
    """Blur with sigma 0.7, swap pixels with neighbours in two passes, and blur again (MNIST-C's severity 1).

    In a pass, every pixel in turn is swapped with the pixel above, the pixel to the left, or the pixel above and to the
    left. Each has a probability of one in eight; otherwise the pixel stays.
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
    """Blur images by a motion during the exposure.

    Like ImageMagick's motion blur, which MNIST-C uses, the blur is one-sided: a pixel becomes the weighted mean of the
    pixels that follow it in the direction of the motion. The weights are half of a normal distribution.

    Args:
        levels: ``[rows, 28, 28]``.
        angle: the direction of the motion ``[rows, 1, 1]``, in radians, clockwise from the right.
        sigma: the standard deviation of the weights, in pixels.
        length: the distance at which the weights end, in pixels.
    """
    down, right = grid()
    steps = np.arange(length + 1)
    weights = np.exp(-((steps / sigma) ** 2) / 2)
    moved = (sampled(levels, down + step * np.sin(angle), right + step * np.cos(angle)) for step in steps)
    total: Levels = sum(weight * image for weight, image in zip(weights, moved, strict=True)) / weights.sum()
    return total


def motion_blur(levels: Levels, rng: np.random.Generator) -> Levels:
    """Blur by motion with sigma 3 over 10 pixels, up to 45 degrees from the horizontal (MNIST-C's severity 1)."""
    angle = between(-np.pi / 4, np.pi / 4, len(levels), rng)
    return streaked(levels, angle, MOTION_SIGMA, MOTION_LENGTH)


def zoom_blur(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Take the mean over enlargements from 1 to 1.3, in steps of 0.03 (MNIST-C's severity 5)."""
    down, right = grid()
    mean: Levels = np.mean([levels, *(sampled(levels, down / zoom, right / zoom) for zoom in ZOOMS)], axis=0)
    return mean
