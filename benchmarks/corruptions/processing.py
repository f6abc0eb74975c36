"""Levels and digital processing: brightness, contrast, edges, few pixels, few bits.

Each function takes levels ``[rows, 28, 28]`` of 0..1 and returns levels that may lie outside; `kinds.corrupt` clips
them. Brightness, contrast, JPEG compression and pixelation come from Hendrycks and Dietterich 2019 (arXiv 1903.12261).
The authors of MNIST-C added the other kinds. All strengths are MNIST-C's.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import correlate1d, label

from benchmarks.corruptions.blur import smoothed
from benchmarks.corruptions.sampling import Levels
from models.form import SIDE

BRIGHTER = 0.5
CONTRAST = 0.1
STRIPE = 7
QUALITY = 7
FEW = 11
WEAK_EDGE, STRONG_EDGE = 0.1, 0.2

Mask = npt.NDArray[np.bool_]


def brightness(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Add half of the range to every pixel, up to white (MNIST-C's severity 5)."""
    return levels + BRIGHTER


def contrast(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Reduce each pixel's difference from the mean of its image to a tenth (MNIST-C's severity 4)."""
    mean = levels.mean(axis=(1, 2), keepdims=True)
    flattened: Levels = mean + CONTRAST * (levels - mean)
    return flattened


def inverse(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Invert the image: black ink on white paper."""
    return 1 - levels


def stripe(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Invert the outer 7 columns on each side."""
    column = np.arange(SIDE)
    return np.where((column < STRIPE) | (column >= SIDE - STRIPE), 1 - levels, levels)


def quantize(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Round each pixel to black or white: one bit per pixel (MNIST-C's severity 5)."""
    return np.round(levels)


def jpeg_compression(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Compress to a JPEG of quality 7 and decode it (MNIST-C's severity 5)."""
    decoded: Levels = np.stack([_through_jpeg(image) for image in levels])
    return decoded


def _through_jpeg(image: Levels) -> Levels:
    file = io.BytesIO()
    Image.fromarray((255 * image).round().astype(np.uint8)).save(file, "JPEG", quality=QUALITY)
    with Image.open(file) as decoded:
        pixels: Levels = np.asarray(decoded, float) / 255
        return pixels


def pixelate(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Reduce to 11x11 pixels and enlarge to 28x28, both with area averages (MNIST-C's severity 3)."""
    edges = np.linspace(0, SIDE, FEW + 1)[:, np.newaxis]
    pixel = np.arange(SIDE)
    covered = np.clip(np.minimum(edges[1:], pixel + 1) - np.maximum(edges[:-1], pixel), 0, None)  # [11, 28]
    few = covered @ levels @ covered.T / covered.sum(axis=1, keepdims=True) ** 2
    pixels: Levels = covered.T @ few @ covered
    return pixels


def canny_edges(levels: Levels, _rng: np.random.Generator) -> Levels:
    """Keep only the edges, white and one pixel wide (Canny 1986, *A Computational Approach to Edge Detection*).

    Sigma and both thresholds are the defaults of scikit-image's `canny`, which MNIST-C uses: 1, 0.1 and 0.2. The
    thresholds apply to Sobel's gradient, which is eight times the difference of two neighbouring pixels.
    """
    smooth = smoothed(levels, 1)
    down, right = _sobel(smooth, 1, 2), _sobel(smooth, 2, 1)
    strength = np.hypot(down, right)
    ridge = _greatest_across(strength, np.arctan2(down, right))
    weak, strong = (ridge & (strength >= least) for least in (WEAK_EDGE, STRONG_EDGE))
    neighbours = np.zeros((3, 3, 3))
    neighbours[1] = 1  # pixels of one image are connected, also diagonally; pixels of two images are not
    parts, _ = label(weak, neighbours)
    kept: Levels = np.isin(parts, np.unique(parts[strong])).astype(float)
    return kept


def _sobel(levels: Levels, along: int, across: int) -> Levels:
    """Sobel's derivative along one axis: a difference over two pixels, summed over three lines of the other axis."""
    gradient: Levels = correlate1d(correlate1d(levels, (-1, 0, 1), along), (1, 2, 1), across)
    return gradient


def _greatest_across(strength: Levels, angle: Levels) -> Mask:
    """A mask of the pixels whose gradient is stronger than the two neighbouring gradients in its own direction."""
    octant = np.round(angle / (np.pi / 4)).astype(int) % 4
    padded = np.pad(strength, ((0, 0), (1, 1), (1, 1)))
    greatest = np.zeros(strength.shape, bool)
    for direction, (down, right) in enumerate(((0, 1), (1, 1), (1, 0), (1, -1))):
        ahead, behind = (
            padded[:, 1 + sign * down : 1 + sign * down + SIDE, 1 + sign * right : 1 + sign * right + SIDE]
            for sign in (1, -1)
        )
        greatest |= (octant == direction) & (strength > behind) & (strength >= ahead)
    return greatest
