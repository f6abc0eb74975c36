"""Recognises the pictures of 28x28 pixels that are already in MNIST's form."""

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.form import BOX, SIDE

Flags = npt.NDArray[np.bool_]

# Limits that hold for all of MNIST's 60,000 training images. tests/service/images/test_form.py checks the limits.
PAPER = 16  # a pixel is paper up to this level
INK = 32  # a pixel is ink above this level
STRONGEST = 250  # the least value of an image's highest level; MNIST has 254 and 255
SHARE = 0.55  # the least part of the pixels that is paper; MNIST has 0.553
AT_BORDER = 5  # the most pixels that are not paper among the 112 along the border; MNIST has 5
LONGER = (18, BOX)  # the range of the longer side of the ink's box, in pixels; MNIST has 18 to 20
# The range of the centre of mass, from the middle of the first pixel, in both directions; MNIST has 13.480 to 14.500.
CENTRE = (13.45, 14.55)

PIXELS = SIDE * SIDE
EDGE = np.ones((SIDE, SIDE), bool)
EDGE[1:-1, 1:-1] = False
MOMENTS = np.stack([np.ones(PIXELS), *np.indices((SIDE, SIDE)).reshape(2, PIXELS)], axis=1).astype(np.float32)
"""The matrix that turns levels into their sum and their moments. All products and sums are whole numbers below 2^24.
So they are exact in float32, and depend neither on the order of the summation nor on the batch."""


def in_form(images: Images) -> Flags:
    """Which images are in MNIST's form, by their contrast, their paper, and the size and centre of mass of the ink.

    Args:
        images: uint8 ``[rows, 28, 28]``.

    Returns:
        bool ``[rows]``.
    """
    flat = images.reshape(-1, PIXELS)
    total, down, right = (flat.astype(np.float32) @ MOMENTS).T
    inked = flat > INK
    square = inked.reshape(-1, SIDE, SIDE)
    longer = np.maximum(_extent(np.any(square, axis=2)), _extent(np.any(square, axis=1)))
    bare = flat <= PAPER
    flags: Flags = (
        (flat.max(axis=1) >= STRONGEST)
        & (np.count_nonzero(bare, axis=1) >= SHARE * PIXELS)
        & (np.count_nonzero(bare[:, EDGE.ravel()], axis=1) >= np.count_nonzero(EDGE) - AT_BORDER)
        & (longer >= LONGER[0])
        & (longer <= LONGER[1])
    )
    for moment in (down, right):
        flags &= (moment >= CENTRE[0] * total) & (moment <= CENTRE[1] * total)
    return flags


def _extent(flags: Flags) -> npt.NDArray[np.int_]:
    """The number of places from the first to the last flag of each row; at least the row's length without flags."""
    length = flags.shape[1]
    extent: npt.NDArray[np.int_] = length - flags.argmax(axis=1) - flags[:, ::-1].argmax(axis=1)
    return extent
