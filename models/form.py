"""The form that MNIST's pictures have, which the networks are fitted on and the service brings pictures to.

They were size-normalised to fit a box of 20x20 pixels with their aspect ratio kept, which brought in the grey levels,
and then placed in 28x28 with their centre of mass at the centre (LeCun, Bottou, Bengio and Haffner 1998,
*Gradient-Based Learning Applied to Document Recognition*, section III). The ink is white, 255, the paper black, 0.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

Ink = npt.NDArray[np.float32]  # [height, width], of any scale from 0 on
Digit = npt.NDArray[np.uint8]  # [28, 28]

SIDE = 28  # of a picture of MNIST
BOX = 20  # the side of the box that the ink is fitted to
CENTRE = 14  # where the centre of mass goes: over MNIST's test pictures it lies at 14.0 of 0..27, both ways


def to_form(ink: Ink) -> Digit:
    """Bring ink to MNIST's form.

    Args:
        ink: float32 ``[height, width]``, 0 for paper; cropped to its box, and not all of it 0.

    Returns:
        uint8 ``[28, 28]``.
    """
    return _centred(_fitted(ink))


def _fitted(ink: Ink) -> Ink:
    """Scale the ink so that its longer side is that of the box and its strongest level 255.

    The filter averages over the area that a pixel shrinks from, and has no negative weight to ring with.
    """
    height, width = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    fitted: Ink = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.HAMMING))
    return fitted * (255 / float(fitted.max()))


def _centred(box: Ink) -> Digit:
    """Place the box in 28x28 with its centre of mass at the centre, as far as it stays inside."""
    places = tuple(_place(box.sum(axis=axis)) for axis in (1, 0))
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[places] = np.rint(box)
    return digit


def _place(profile: Ink) -> slice:
    """Where a side of the box goes, given the ink along it."""
    centre_of_mass = np.average(np.arange(len(profile)), weights=profile)
    start = int(np.clip(round(CENTRE - centre_of_mass), 0, SIDE - len(profile)))
    return slice(start, start + len(profile))
