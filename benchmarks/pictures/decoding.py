"""Decodes pictures as the service does."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.form import SIDE
from service.images.decode import decode
from service.images.errors import NoDigitError

MAX_PIXELS = 16 * 2**20


def decode_files(files: Sequence[bytes]) -> tuple[Images, npt.NDArray[np.bool_]]:
    """Decode pictures, each to an image in MNIST's form.

    Args:
        files: the contents of PNG or JPEG files.

    Returns:
        The images, uint8 ``[rows, 28, 28]``, and a mask ``[rows]`` of the pictures that were not refused. The image of
        a refused picture is all black.
    """
    images, shown = np.zeros((len(files), SIDE, SIDE), np.uint8), np.ones(len(files), bool)
    for row, content in enumerate(files):
        try:
            images[row] = decode(content, MAX_PIXELS)
        except NoDigitError:
            shown[row] = False
    return images, shown
