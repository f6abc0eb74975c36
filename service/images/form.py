"""Recognises the images of 28x28 pixels that are already in MNIST's form."""

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
AT_BORDER = 5  # the greatest number of pixels that are not paper among the 108 along the border; MNIST has 5
LONGER = (18, BOX)  # the range of the longer side of the ink's box, in pixels; MNIST has 18 to 20
# The range of the centre of mass, from the middle of the first pixel, in both directions; MNIST has 13.480 to 14.500.
CENTRE = (13.45, 14.55)

PIXELS = SIDE * SIDE
NOT_PAPER = bytes(range(PAPER + 1, 256))
NEGATIVE = bytes(range(255, -1, -1))
WEAK = bytes(range(STRONGEST))
INKED = bytes(level > INK for level in range(256))
"""The table that turns a level into 1 if it is ink, else into 0."""
HALVES = [(8 * SIDE * rows, (1 << 8 * SIDE * rows) - 1) for rows in (16, 8, 4, 2, 1)]
"""For a number of rows: their bits, and the integer that selects them."""
MOMENTS = np.stack([np.ones(PIXELS), *np.indices((SIDE, SIDE)).reshape(2, PIXELS)], axis=1).astype(np.float32)
"""The matrix that turns levels into their sum and their moments. All products and sums are whole numbers below 2^24.
So they are exact in float32, and depend neither on the order of the summation nor on the processor."""


def in_form(images: Images) -> Flags:
    """Which images are in MNIST's form, by their contrast, their paper, and the size and centre of mass of the ink.

    Args:
        images: uint8 ``[rows, 28, 28]``.

    Returns:
        bool ``[rows]``.
    """
    return np.fromiter((is_in_form(image.tobytes()) for image in images), np.bool_, len(images))


def are_in_form(images: bytes) -> bool:
    """Whether all images are in MNIST's form.

    Args:
        images: 784 grey levels for each image.
    """
    return all(is_in_form(images[start : start + PIXELS]) for start in range(0, len(images), PIXELS))


def first_in_neither_form(images: bytes) -> int | None:
    """The row of the first image that is not in MNIST's form and whose negative is not either; None without such a row.

    Args:
        images: 784 grey levels for each image.
    """
    each = (images[start : start + PIXELS] for start in range(0, len(images), PIXELS))
    rows = (
        row for row, image in enumerate(each) if not is_in_form(image) and not is_in_form(image.translate(NEGATIVE))
    )
    return next(rows, None)


def is_in_form(image: bytes) -> bool:
    """Whether one image is in MNIST's form.

    The methods of bytes do most of the work: for one image, they take a fifth of the time of NumPy's functions.

    Args:
        image: 784 grey levels, row by row.
    """
    border = image[: SIDE + 1] + image[2 * SIDE - 1 : -SIDE : SIDE] + image[2 * SIDE : -SIDE : SIDE] + image[-SIDE:]
    if (
        not image.translate(None, WEAK)
        or len(image.translate(None, NOT_PAPER)) < SHARE * PIXELS
        or len(border) - len(border.translate(None, NOT_PAPER)) > AT_BORDER
        or not LONGER[0] <= _longer_side(image.translate(INKED)) <= LONGER[1]
    ):
        return False
    total, down, right = (np.frombuffer(image, np.uint8).astype(np.float32) @ MOMENTS).tolist()
    return all(CENTRE[0] * total <= moment <= CENTRE[1] * total for moment in (down, right))


def _longer_side(inked: bytes) -> int:
    """The longer side of the box around the ink; 0 without ink."""
    first, last = inked.find(1), inked.rfind(1)
    if first < 0:
        return 0
    columns = int.from_bytes(inked)
    for bits, keep in HALVES:  # puts the upper half of the rows over the lower half, until one row has all ink
        columns = columns & keep | columns >> bits
    width = len(columns.to_bytes(SIDE).strip(b"\0"))
    return max(last // SIDE - first // SIDE + 1, width)
