"""Estimates the paper of a picture, and how much each pixel differs from the paper."""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # [height, width, channels]
Levels = npt.NDArray[np.float32]  # [height, width, channels], signed differences of levels

Level = TypeVar("Level", np.uint8, np.bool_)

WIDEST = 3  # a stroke is narrower than the longer side divided by this; anything wider is light, shadow or desk
WIDEST_OF_SMALL = 16  # the same for the strokes of a small digit
RING = 8  # the border ring, where we expect paper first, is as wide as the longer side divided by this
SAMPLES = 40  # the paper is fitted to the points of a grid with at most this many rows and columns
ROUNDS = 8  # rounds of the robust fit
DARKEST = 16  # levels that are added before light is treated as a factor, because cameras have noise
FLAT = 1.0  # levels: a border that varies less was drawn by a program, and its paper has one level
REJECTED = 4.7  # standard deviations from which a point has no weight in the fit (Tukey's biweight)


def from_smooth_paper(levels: Pixels) -> Levels:
    """The level of the paper minus the level of each pixel, for a smooth paper.

    The paper is modelled as a quadratic surface, because a lamp and a lens make an even paper look like one. We fit the
    surface by iteratively reweighted least squares with Tukey's biweight (Holland and Welsch 1977, *Robust regression
    using iteratively reweighted least-squares*), first to the ring along the border and then to the whole picture. The
    weights ignore ink, because ink is far from the surface.

    Args:
        levels: uint8 ``[height, width, channels]``.

    Returns:
        float32 ``[height, width, channels]``: positive where a pixel is darker than the paper.
    """
    height, width = levels.shape[:2]
    step = max(1, -(-max(height, width) // SAMPLES))
    top, left = (min(step // 2, side - 1) for side in (height, width))
    points = levels[top::step, left::step].astype(np.float64)
    y, x = (np.arange(first, side, step) * (2 / side) - 1 for first, side in ((top, height), (left, width)))
    reach = 1 - 2 / RING
    ring = np.maximum(np.abs(y)[:, np.newaxis], np.abs(x)) >= reach
    outermost = border(levels).astype(np.float64)
    paper = np.median(outermost, axis=0)
    if np.median(np.abs(outermost - paper), axis=0).max() <= FLAT:
        return (paper - levels).astype(np.float32)
    terms = _terms(y, x)
    surface = np.zeros((terms.shape[2], levels.shape[2]))
    surface[0] = np.median(points[ring], axis=0) if ring.any() else paper
    for number in range(ROUNDS):
        chosen = ring if number < ROUNDS // 2 and ring.sum() > 4 * len(surface) else np.ones_like(ring)
        surface = _refitted(surface, terms[chosen], points[chosen])
    y, x = (np.arange(side, dtype=np.float32) * (2 / side) - 1 for side in (height, width))
    one, down, right, down2, both, right2 = surface.astype(np.float32)
    rows = one + y[:, np.newaxis] * down + (y**2)[:, np.newaxis] * down2
    columns = x[:, np.newaxis] * right + (x**2)[:, np.newaxis] * right2
    smooth = rows[:, np.newaxis] + columns + np.multiply.outer(y, x)[..., np.newaxis] * both
    contrast: Levels = (smooth - levels).astype(np.float32)
    return contrast


def border(levels: npt.NDArray[Level]) -> npt.NDArray[Level]:
    """The pixels along the four sides, one after another."""
    return np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])


def _terms(y: npt.NDArray[np.float64], x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """1, x, y and their products of degree 2, at each point of a grid: ``[rows, columns, 6]``."""
    rows, columns = np.meshgrid(y, x, indexing="ij")
    return np.stack([np.ones_like(rows), rows, columns, rows**2, rows * columns, columns**2], axis=-1)


def _refitted(
    surface: npt.NDArray[np.float64], terms: npt.NDArray[np.float64], points: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The surface after one round of the robust fit."""
    away = np.abs(points - terms @ surface).max(axis=1)
    spread = max(FLAT, 1.4826 * float(np.median(away)))
    weight = np.square(np.clip(1 - np.square(away / (REJECTED * spread)), 0, None))
    weighed = terms * weight[:, np.newaxis]
    normal = weighed.T @ terms + 1e-6 * len(terms) * np.eye(terms.shape[1])
    fitted: npt.NDArray[np.float64] = np.linalg.solve(normal, weighed.T @ points)
    return fitted


def from_uneven_paper(levels: Pixels) -> Levels:
    """How much darker each pixel is than the paper around it: the black top-hat transform.

    The transform is the closing by a square that is wider than any stroke, minus the picture. A closing fills dark
    parts that are narrower than the square, and leaves wider parts and their edges unchanged (Serra 1982, *Image
    Analysis and Mathematical Morphology*). Beyond the border, the picture continues with its outermost pixels. So a
    desk counts as wide even if only a strip of it is in view.

    Args:
        levels: uint8 ``[height, width, channels]``.

    Returns:
        float32 ``[height, width, channels]``, not negative.
    """
    light = _closed(levels, WIDEST).astype(np.float32) + DARKEST
    return (light - DARKEST - levels) * (np.median(light, axis=(0, 1)) / light)


def from_paper_nearby(levels: Pixels) -> Levels:
    """How much darker each pixel is than the paper next to it: the black top-hat transform by a narrow square.

    Only strokes of small digits are narrower than this square. Shadows and desks are wider, even at their narrow ends.
    The light is not treated as a factor, because it would enlarge the grain of a dark desk.

    Args:
        levels: uint8 ``[height, width, channels]``.

    Returns:
        float32 ``[height, width, channels]``, not negative.
    """
    return _closed(levels, WIDEST_OF_SMALL).astype(np.float32) - levels


def _closed(levels: Pixels, divisor: int) -> Pixels:
    """The closing of a picture by a square that is as wide as the picture's longer side divided by a number."""
    width = max(2, max(levels.shape) // divisor)
    reach = ((width - 1,) * 2, (width - 1,) * 2, (0, 0))
    closed = np.pad(levels, reach, mode="edge")
    for extreme in (np.maximum, np.minimum):
        for axis in (0, 1):
            closed = slid(closed, width, axis, extreme)
    return closed


def slid(levels: npt.NDArray[Level], width: int, axis: int, extreme: np.ufunc) -> npt.NDArray[Level]:
    """The extreme over each window of a width along an axis. We double the window in each pass, to need few passes."""
    levels, done = np.moveaxis(levels, axis, 0), 1
    while done < width:
        shift = min(done, width - done)
        levels = extreme(levels[:-shift], levels[shift:])
        done += shift
    return np.moveaxis(levels, 0, axis)
