"""MNIST's form. The networks are fitted on images in this form, and the service converts every picture to this form.

MNIST's authors scaled each digit to fit a box of 20x20 pixels and kept its aspect ratio. The scaling produced the grey
levels. Then they placed the box in an image of 28x28 pixels, with the centre of mass of the ink at the centre (LeCun,
Bottou, Bengio and Haffner 1998, *Gradient-Based Learning Applied to Document Recognition*, section III). Ink is white,
255, and paper is black, 0.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Ink = npt.NDArray[np.float32]  # [height, width], at least 0, on any scale
Digit = npt.NDArray[np.uint8]  # [28, 28]

SIDE = 28  # the side of an MNIST image, in pixels
BOX = 20  # the side of the box that the ink is fitted to, in pixels
CENTRE = 14  # the target of the centre of mass; in the fit split of MNIST its mean is 14.0 of 0..27 on both axes


def to_form(ink: Ink) -> Digit:
    """Convert ink to an image in MNIST's form.

    Args:
        ink: float32 ``[height, width]``, 0 for paper. The array is cropped to the bounding box of the ink, and at
            least one value is not 0.

    Returns:
        The image, uint8 ``[28, 28]``.
    """
    return _centred(_fitted(ink))


def _fitted(ink: Ink) -> Ink:
    """Scale the ink so that its longer side is `BOX` pixels long and its strongest level is 255.

    The Hamming filter averages over the source area of each pixel. It has no negative weights, so it does not ring.
    """
    height, width = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    fitted: Ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.HAMMING))
    return fitted * (255 / float(fitted.max()))


def _centred(box: Ink) -> Digit:
    """Place the box in 28x28 pixels with its centre of mass as near to the centre as the image's edges allow."""
    position = tuple(_position(box.sum(axis=axis)) for axis in (1, 0))
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[position] = np.rint(box)
    return digit


def _position(profile: Ink) -> slice:
    """The position of the box along one axis, given the sums of the ink along this axis."""
    centre_of_mass = np.average(np.arange(len(profile)), weights=profile)
    start = int(np.clip(round(CENTRE - centre_of_mass), 0, SIDE - len(profile)))
    return slice(start, start + len(profile))
