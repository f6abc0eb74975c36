"""From pictures and grey levels of any kind to digits in MNIST's form."""

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
    """Bring a picture to MNIST's form: size, place, polarity and contrast.

    A picture of 28x28 that is in MNIST's form, or is the negative of one that is, keeps its levels.

    Args:
        picture: uint8, grey ``[height, width]`` or in colours ``[height, width, 3]``, of any size, with dark ink on
            light paper or light ink on dark paper.

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
    """Bring images of 28x28 to MNIST's form, as `to_mnist` does with each of them.

    Args:
        images: uint8 ``[rows, 28, 28]``.

    Returns:
        uint8 ``[rows, 28, 28]``; the same array where all of them are in MNIST's form.

    Raises:
        RowError: an image shows no digit.
    """
    wrong = np.flatnonzero(~in_form(images))
    if len(wrong) == 0:
        return images
    brought = images.copy()
    for row in wrong.tolist():
        try:
            brought[row] = to_mnist(images[row])
        except NoDigitError as error:
            raise RowError(row, error) from error
    return brought
