"""Weather: fog, snow and mud.

Each function takes levels ``[rows, 28, 28]`` of 0..1 and returns levels that may lie outside; `kinds.corrupt` clips
them. The kinds come from Hendrycks and Dietterich 2019 (arXiv 1903.12261), and their strengths from MNIST-C.
"""

import numpy as np
from scipy.ndimage import zoom

from benchmarks.corruptions.blur import smoothed, streaked
from benchmarks.corruptions.sampling import Levels, between
from models.form import SIDE

FOG = 3.0
FOG_DECAY = 1.4
FOG_DOUBLINGS = 8
FOG_ROWS = 64  # surfaces in memory at the same time, 256 KiB each

FLAKES = 12
FLAKE_MEAN, FLAKE_SIGMA, FLAKE_LEAST = 0.55, 0.3, 0.85
STREAK = 12
OVERCAST = 0.45

MUD = 63 / 255
MUD_SIGMAS = 1.0, 1.5
MUD_LEAST = 0.8


def fog(levels: Levels, rng: np.random.Generator) -> Levels:
    """Add a fog three times as bright as the ink, and scale the sum back to the ink's range (MNIST-C's severity 5)."""
    surfaces = [_surface(len(some), rng) for some in np.array_split(levels, -(-len(levels) // FOG_ROWS))]
    brightest = levels.max(axis=(1, 2), keepdims=True)
    fogged: Levels = (levels + FOG * np.concatenate(surfaces)) * brightest / (brightest + FOG)
    return fogged


def _surface(rows: int, rng: np.random.Generator) -> Levels:
    """The corners ``[rows, 28, 28]`` of random fractal surfaces of 256x256, whose values span 0 to 1.

    The surfaces are made by successive random additions (Saupe 1988, *The Science of Fractal Images*, chapter 2): the
    grid is doubled with interpolation, and a random amount is added to every point. The amount is divided by 1.4 with
    each doubling. MNIST-C uses the diamond-square algorithm, which adds to the new points only.
    """
    surface = rng.uniform(-1, 1, (rows, 1, 1)).astype(np.float32)
    for doubling in range(1, FOG_DOUBLINGS + 1):
        for axis in (1, 2):
            middles = (surface + np.roll(surface, -1, axis)) / 2
            shape = [rows, *(side * 2 if at == axis else side for at, side in enumerate(surface.shape) if at)]
            surface = np.stack((surface, middles), axis + 1).reshape(shape)
        surface += rng.uniform(-1, 1, surface.shape).astype(np.float32) * np.float32(FOG_DECAY**-doubling)
    low, high = (end(surface, axis=(1, 2), keepdims=True) for end in (np.min, np.max))
    corner: Levels = ((surface[:, :SIDE, :SIDE] - low) / (high - low)).astype(np.float64)
    return corner


def snow(levels: Levels, rng: np.random.Generator) -> Levels:
    """Whiten the image, and add snowflakes that fall from two opposite directions (MNIST-C's severity 5).

    The flakes are the peaks of normal noise on a coarse grid. They are enlarged about 2.3 times, and blurred by a
    motion over 12 pixels, up to 45 degrees from the vertical.
    """
    rows = len(levels)
    coarse = rng.normal(FLAKE_MEAN, FLAKE_SIGMA, (rows, FLAKES, FLAKES))
    flakes = zoom(coarse, (1, SIDE / FLAKES, SIDE / FLAKES), order=1)
    flakes = np.where(flakes < FLAKE_LEAST, 0, np.clip(flakes, 0, 1))
    falling = streaked(flakes, between(-np.pi * 3 / 4, -np.pi / 4, rows, rng), STREAK, STREAK)
    whitened = (1 - OVERCAST) * levels + OVERCAST * np.maximum(levels, 1.5 * levels + 0.5)
    return whitened + falling + falling[:, ::-1, ::-1]


def spatter(levels: Levels, rng: np.random.Generator) -> Levels:
    """Cover blotches with mud of the level 63 of 255, at least four fifths opaque (MNIST-C's severity 4)."""
    liquid = smoothed(rng.normal(0, 1, levels.shape), MUD_SIGMAS[0])
    cover = smoothed((liquid > 0).astype(float), MUD_SIGMAS[1])
    cover[cover < MUD_LEAST] = 0
    return levels * (1 - cover) + MUD * cover
