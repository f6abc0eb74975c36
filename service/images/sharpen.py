"""Sharper edges for ink that is out of focus or shaken."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Ink = npt.NDArray[np.float32]  # [height, width], 0..1

SIDE = 48  # pixels: a longer ink is reduced to that before it is sharpened
QUARTERS = (
    1.0  # standard deviations from a quarter to three quarters of an edge: 1.35 for one edge, less for a stroke's two
)
SHARP = 0.045  # of the longer side: edges whose blur is less than that are about as sharp as those of MNIST's digits
BLURRED = 0.25  # edges are sharpened if their blur is more than this part of the stroke's width
ROUNDS = 15  # of the deconvolution; more of them would make noise into strokes


def sharpened(ink: Ink) -> Ink:
    """Undo the blur of ink, if its edges are much softer than its strokes are wide.

    It is the deconvolution by Richardson (1972, *Bayesian-based iterative method of image restoration*) and Lucy
    (1974), with a normal distribution that is as wide as the ink's edges are soft.

    Args:
        ink: float32 ``[height, width]``, 0 for paper and about 1 for full ink, with all of its soft edge.

    Returns:
        The same ink where it is sharp; otherwise with a longer side of at most 48 pixels.
    """
    longer = max(ink.shape)
    if longer > SIDE:
        height, width = (max(1, round(side * SIDE / longer)) for side in ink.shape)
        small = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.BOX))
    else:
        small = ink
    blur, stroke = _blur_and_stroke(small)
    if blur < max(SHARP * max(small.shape), BLURRED * stroke):
        return ink
    spare = round(2 * blur)
    seen = np.pad(small, spare).astype(np.float64) + 1e-3
    down, right = (_blurring(side, blur) for side in seen.shape)
    guess = seen.copy()
    for _ in range(ROUNDS):
        guess *= down @ (seen / (down @ guess @ right)) @ right
    clear: Ink = np.clip(guess / np.median(guess[guess > guess.max() / 2]), 0, 1).astype(np.float32)
    return clear


def _blur_and_stroke(ink: Ink) -> tuple[float, float]:
    """The standard deviation of the edges' blur, and the mean width of the strokes, in pixels."""
    mask = np.pad(ink > 0.5, 1)
    edges = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    length = max(1.0, edges * np.pi / 4)  # of the outline: a line in any direction crosses so many more pixel sides
    soft = np.count_nonzero(ink > 0.25) - np.count_nonzero(ink > 0.75)
    return soft / length / QUARTERS, 2 * np.count_nonzero(mask) / length


def _blurring(side: int, deviation: float) -> npt.NDArray[np.float64]:
    """The matrix that blurs a row of pixels by a normal distribution."""
    apart = np.subtract.outer(np.arange(side), np.arange(side)) / deviation
    weights = np.exp(-0.5 * np.square(apart))
    blurring: npt.NDArray[np.float64] = weights / weights.sum(axis=0)
    return (blurring + blurring.T) / 2
