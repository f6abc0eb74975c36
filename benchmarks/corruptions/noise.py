"""Noise: sensor noise, photon noise, dead pixels.

Each function takes levels ``[rows, 28, 28]`` of 0..1 and returns levels that may lie outside; `kinds.corrupt` clips
them. The kinds come from Hendrycks and Dietterich 2019 (arXiv 1903.12261), and their strengths from MNIST-C.
"""

import numpy as np

from benchmarks.corruptions.sampling import Levels

SIGMA = 0.38
PHOTONS = 3
DEAD = 0.17
SPECKLE = 0.6


def gaussian_noise(levels: Levels, rng: np.random.Generator) -> Levels:
    """Add normal noise of standard deviation 0.38 (MNIST-C's severity 5)."""
    return levels + rng.normal(0, SIGMA, levels.shape)


def shot_noise(levels: Levels, rng: np.random.Generator) -> Levels:
    """Count photons: each pixel is a Poisson number, whose mean is 3 for white (MNIST-C's severity 5)."""
    return rng.poisson(levels * PHOTONS) / PHOTONS


def impulse_noise(levels: Levels, rng: np.random.Generator) -> Levels:
    """Replace 17 % of the pixels, half of them with white and half with black (MNIST-C's severity 4)."""
    dead = rng.random(levels.shape) < DEAD
    return np.where(dead, rng.integers(0, 2, levels.shape), levels)


def speckle_noise(levels: Levels, rng: np.random.Generator) -> Levels:
    """Multiply by normal noise with mean 1 and standard deviation 0.6; black stays black (MNIST-C's severity 5)."""
    return levels * rng.normal(1, SPECKLE, levels.shape)
