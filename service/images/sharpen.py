"""Sharpens the edges of ink in a picture that is out of focus or was shaken."""

import numpy as np
import numpy.typing as npt
from PIL import Image

Ink = npt.NDArray[np.float32]  # [height, width], 0..1

SIDE = 48  # pixels: ink with a longer side is reduced to this side before it is sharpened
# The standard deviations from a quarter to three quarters of an edge: 1.35 for one edge, less for the two of a stroke.
QUARTERS = 1.0
SHARP = 0.045  # edges with a blur below this part of the longer side are about as sharp as those of MNIST's digits
BLURRED = 0.25  # edges are sharpened if their blur is more than this part of the stroke's width
ROUNDS = 15  # rounds of the deconvolution; more rounds would turn noise into strokes


def sharpened(ink: Ink) -> Ink:
    """Undo the blur of ink, if its edges are much softer than its strokes are wide.

    We use the deconvolution by Richardson (1972, *Bayesian-based iterative method of image restoration*) and Lucy
    (1974). The blur is a normal distribution whose width is estimated from the softness of the ink's edges.

    Args:
        ink: float32 ``[height, width]``, 0 for paper and about 1 for full ink, with the whole soft edge.

    Returns:
        The same ink if it is sharp. Otherwise sharpened ink with a longer side of at most 48 pixels.
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
    length = max(1.0, edges * np.pi / 4)  # length of the outline: a line crosses 4/pi pixel sides per pixel on average
    soft = np.count_nonzero(ink > 0.25) - np.count_nonzero(ink > 0.75)
    return soft / length / QUARTERS, 2 * np.count_nonzero(mask) / length


def _blurring(side: int, deviation: float) -> npt.NDArray[np.float64]:
    """The matrix that blurs a row of pixels by a normal distribution."""
    apart = np.subtract.outer(np.arange(side), np.arange(side)) / deviation
    weights = np.exp(-0.5 * np.square(apart))
    blurring: npt.NDArray[np.float64] = weights / weights.sum(axis=0)
    return (blurring + blurring.T) / 2
