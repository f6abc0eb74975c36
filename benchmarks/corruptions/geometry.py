"""Geometry: shearing, scaling, rotation, translation and warping.

Each function takes levels ``[rows, 28, 28]`` of 0..1. Everything outside an image is black. The kinds and their
strengths are MNIST-C's.
"""

import numpy as np

from benchmarks.corruptions.blur import smoothed
from benchmarks.corruptions.sampling import Levels, grid, one_of, sampled

SHEAR = 0.4
ANGLE = 0.4
SCALE = 0.7
SHIFT = 3

CORNERS = np.array([(9, 9), (9, -9), (-9, -9)], float)  # below and to the right of the centre
CORNER_SHIFT = 2.8
WARP, WARP_SIGMA = 56, 19.6


def shear(levels: Levels, rng: np.random.Generator) -> Levels:
    """Shift each line by 0.4 of its distance from the middle, left or right at random (MNIST-C's severity 2)."""
    down, right = grid()
    return sampled(levels, down, right + one_of((-SHEAR, SHEAR), len(levels), rng) * down)


def scale(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Scale to 0.7 of the size (MNIST-C's severity 3)."""
    down, right = grid()
    return sampled(levels, down / SCALE, right / SCALE)


def rotate(levels: Levels, rng: np.random.Generator) -> Levels:
    """Rotate by 0.4 radians (23 degrees), in a random direction (MNIST-C's severity 2)."""
    angle = one_of((-ANGLE, ANGLE), len(levels), rng)
    down, right = grid()
    return sampled(levels, down * np.cos(angle) - right * np.sin(angle), down * np.sin(angle) + right * np.cos(angle))


def translate(levels: Levels, rng: np.random.Generator) -> Levels:
    """Translate by 3 pixels up or down, and by 3 pixels left or right (MNIST-C's severity 3)."""
    down, right = grid()
    shifts = (one_of((-SHIFT, SHIFT), len(levels), rng) for _ in range(2))
    return sampled(levels, *(place + shift for place, shift in zip((down, right), shifts, strict=True)))


def elastic_transform(levels: Levels, rng: np.random.Generator) -> Levels:
    """Move three corners of a square by up to 2.8 pixels each way, and warp smoothly (MNIST-C's severity 1).

    The image follows the corners with an affine map. The warp (Simard, Steinkraus and Platt 2003, *Best Practices for
    Convolutional Neural Networks*) is a field of random displacements, smoothed with a Gaussian filter of sigma 19.6
    and multiplied by 56. After such a wide filter, the displacement is about one pixel, and nearly the same everywhere.
    """
    rows = len(levels)
    moved = CORNERS + rng.uniform(-CORNER_SHIFT, CORNER_SHIFT, (rows, 3, 2))
    with_one = np.concatenate((moved, np.ones((rows, 3, 1))), axis=2)
    back = np.linalg.solve(with_one, np.broadcast_to(CORNERS, moved.shape))  # from a pixel of the result to its source
    down, right = grid()
    warps = (WARP * smoothed(rng.uniform(-1, 1, levels.shape), WARP_SIGMA) for _ in range(2))
    down, right = (place + warp for place, warp in zip((down, right), warps, strict=True))
    places = np.stack((down, right, np.ones_like(down)), axis=-1) @ back[:, np.newaxis]
    return sampled(levels, places[..., 0], places[..., 1])
