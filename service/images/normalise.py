"""Converts pictures and grey levels of any kind to digits in MNIST's form."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from models.backends.answer import Images
from models.form import SIDE, Digit, to_form
from service.images.errors import BlankPictureError, NoDigitError, RowError
from service.images.form import in_form
from service.images.ink import find_ink

Picture = npt.NDArray[np.uint8]  # [height, width] or [height, width, 3]


def to_mnist(picture: Picture) -> Digit:
    """Convert a picture to MNIST's form: size, position, polarity and contrast.

    A picture of 28x28 pixels keeps its levels if the picture or its negative is in MNIST's form.

    Args:
        picture: uint8, grey ``[height, width]`` or coloured ``[height, width, 3]``, of any size, with dark ink on light
            paper or light ink on dark paper.

    Returns:
        uint8 ``[28, 28]``, white ink on black.

    Raises:
        BlankPictureError: no ink stands out from the paper.
        SeveralDigitsError: there are several separate marks of about the same size.
    """
    if picture.shape[:2] == (SIDE, SIDE):
        grey = picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
        for digit in (grey, ~grey):
            if in_form(digit[np.newaxis])[0]:
                return digit
    ink = find_ink(picture) if picture.size else None
    if ink is None:
        raise BlankPictureError(int(picture.min(initial=255)), int(picture.max(initial=0)))
    return to_form(ink)


def rows_to_mnist(images: Images) -> Images:
    """Convert images of 28x28 pixels to MNIST's form, each as `to_mnist` does.

    Args:
        images: uint8 ``[rows, 28, 28]``.

    Returns:
        uint8 ``[rows, 28, 28]``; the same array if all images are in MNIST's form.

    Raises:
        RowError: an image shows no digit.
    """
    wrong = np.flatnonzero(~in_form(images))
    if len(wrong) == 0:
        return images
    converted = images.copy()
    for row in wrong.tolist():
        try:
            converted[row] = to_mnist(images[row])
        except NoDigitError as error:
            raise RowError(row, error) from error
    return converted
