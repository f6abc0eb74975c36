"""Which pictures of 28x28 are in MNIST's form already, by their looks."""

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.form import BOX, SIDE

Flags = npt.NDArray[np.bool_]

# What MNIST's 60,000 training images are like. tests/service/images/test_form.py measures that all of them are inside.
PAPER = 16  # levels: what is not above that is paper
INK = 32  # levels: what is above that is ink
STRONGEST = 250  # of an image's levels, at least; MNIST has 254 and 255
SHARE = 0.55  # of the pixels that are paper, at least; MNIST has 0.553
AT_BORDER = 5  # pixels of the 112 along the border that are not paper, at most; MNIST has 5
LONGER = (18, BOX)  # pixels: the longer side of the ink's box; MNIST has 18 to 20
CENTRE = (13.45, 14.55)  # of mass, from the middle of the first pixel, both ways; MNIST has 13.480 to 14.500

PIXELS = SIDE * SIDE
EDGE = np.ones((SIDE, SIDE), bool)
EDGE[1:-1, 1:-1] = False
PLACES = np.stack([np.ones(PIXELS), *np.indices((SIDE, SIDE)).reshape(2, PIXELS)], axis=1).astype(np.float32)
"""What the levels are multiplied by for their sum and their moments. All products and sums are whole numbers below
2^24, so that they are exact in float32 and do not depend on the order of the summation, nor on the batch."""


def in_form(images: Images) -> Flags:
    """Which images are in MNIST's form: full contrast, flat paper, the ink's size and its centre of mass.

    Args:
        images: uint8 ``[rows, 28, 28]``.

    Returns:
        bool ``[rows]``.
    """
    flat = images.reshape(-1, PIXELS)
    total, down, right = (flat.astype(np.float32) @ PLACES).T
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
    """From the first to the last of the flags of each row, both counted; at least the length where there is none."""
    length = flags.shape[1]
    extent: npt.NDArray[np.int_] = length - flags.argmax(axis=1) - flags[:, ::-1].argmax(axis=1)
    return extent
