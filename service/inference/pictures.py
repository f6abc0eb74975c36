"""Converts the pictures and the grey levels of a request to MNIST's form. The errors name the field."""

import base64
import binascii
from collections.abc import Callable

import numpy as np

from models.backends.answer import Images
from service.errors import FieldError, InvalidError, MalformedError, TooLargeError
from service.images.decode import decode, takes_long
from service.images.errors import NoDigitError, PictureTooLargeError, RowError, UndecodablePictureError
from service.images.form import PIXELS, first_in_neither_form
from service.images.normalise import rows_to_mnist
from service.inference.background import Step, Work
from service.settings import Settings

URL_SAFE = str.maketrans("-_", "+/")
"""The letters of the URL-safe alphabet that differ, with those of the usual alphabet (RFC 4648, section 5)."""


ROWS_PER_STEP = 4
"""Images of grey levels that are converted in a step. The conversion of an image takes up to 3 ms."""


def picture(field: str, content: bytes, settings: Settings) -> Work[Images]:
    """Decode a PNG or JPEG in one step, and convert it to MNIST's form, ``[28, 28]``.

    Args:
        field: the field of the request that holds the picture.
        content: the bytes of the file.
        settings: hold the limits.

    Raises:
        MalformedError: the picture cannot be decoded.
        TooLargeError: the picture has too many pixels.
        InvalidError: the picture shows no ink, or several digits.
    """
    yield Step.decode if takes_long(content) else Step.short
    try:
        return decode(content, settings.max_pixels)
    except UndecodablePictureError as error:
        raise MalformedError(FieldError(field, str(error))) from error
    except PictureTooLargeError as error:
        raise TooLargeError(FieldError(field, str(error))) from error
    except NoDigitError as error:
        raise InvalidError(FieldError(field, str(error))) from error


def grey_levels(field: Callable[[int], str], images: Images) -> Work[Images]:
    """Convert images of grey levels to MNIST's form. The result is the same as for the same images as PNG files.

    Each step converts a few images.

    Args:
        field: returns the field of the request that holds the image of a row.
        images: uint8 ``[rows, 28, 28]``.

    Raises:
        InvalidError: an image shows no ink, or several digits.
    """
    converted = []
    for start in range(0, len(images), ROWS_PER_STEP):
        yield Step.short
        try:
            converted.append(rows_to_mnist(images[start : start + ROWS_PER_STEP]))
        except RowError as error:
            raise InvalidError(FieldError(field(start + error.row), str(error))) from error
    return np.concatenate(converted)


def check_plausible(field: str, content: bytes, remedy: str) -> None:
    """Check that bytes are the grey levels of several images: each image or its negative is in MNIST's form.

    Otherwise the bytes may be of another type. One image of 32-bit numbers, for example, is as long as four images.

    Args:
        field: the field of the request that holds the bytes.
        content: 784 bytes for each image.
        remedy: how the caller can say that the bytes are grey levels.

    Raises:
        InvalidError: they may be of another type.
    """
    row = first_in_neither_form(content)
    if row is not None:
        image = content[row * PIXELS : (row + 1) * PIXELS]
        message = f"is not in MNIST's form; its levels go from {min(image)} to {max(image)}, of 0 to 255. Perhaps the "
        message += f"bytes are of another type than one byte for each grey level. If they are {len(content) // PIXELS} "
        message += f"images of grey levels, {remedy}"
        raise InvalidError(FieldError(f"{field}.{row}", message, f"{len(content):,} bytes"))


def base64_picture(field: str, text: str) -> bytes:
    """Decode a base64 text, which may be a data URL, use the URL-safe alphabet, or lack the padding (RFC 4648).

    Raises:
        MalformedError: the text is not base64.
    """
    encoded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        letters = "".join(encoded.split()).translate(URL_SAFE)
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(FieldError(field, f"is not base64 ({error})")) from error
