"""Converts the pictures and the grey levels of a request to MNIST's form. The errors name the field."""

import base64
import binascii
from collections.abc import Callable

from models.backends.answer import Images
from service.errors import FieldError, InvalidError, MalformedError, TooLargeError
from service.images.decode import decode
from service.images.errors import NoDigitError, PictureTooLargeError, RowError, UndecodablePictureError
from service.images.normalise import rows_to_mnist
from service.settings import Settings


def picture(field: str, content: bytes, settings: Settings) -> Images:
    """Decode a PNG or JPEG and convert it to MNIST's form, ``[28, 28]``.

    Args:
        field: the field of the request that holds the picture.
        content: the bytes of the file.
        settings: hold the limits.

    Raises:
        MalformedError: the picture cannot be decoded.
        TooLargeError: the picture has too many pixels.
        InvalidError: the picture shows no ink, or several digits.
    """
    try:
        return decode(content, settings.max_pixels)
    except UndecodablePictureError as error:
        raise MalformedError(FieldError(field, str(error))) from error
    except PictureTooLargeError as error:
        raise TooLargeError(FieldError(field, str(error))) from error
    except NoDigitError as error:
        raise InvalidError(FieldError(field, str(error))) from error


def grey_levels(field: Callable[[int], str], images: Images) -> Images:
    """Convert images of grey levels to MNIST's form. The result is the same as for the same images as PNG files.

    Args:
        field: returns the field of the request that holds the image of a row.
        images: uint8 ``[rows, 28, 28]``.

    Raises:
        InvalidError: an image shows no ink, or several digits.
    """
    try:
        return rows_to_mnist(images)
    except RowError as error:
        raise InvalidError(FieldError(field(error.row), str(error))) from error


def base64_picture(field: str, text: str) -> bytes:
    """Decode a base64 text, which may be a data URL.

    Raises:
        MalformedError: the text is not base64.
    """
    encoded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(FieldError(field, f"is not base64 ({error})")) from error
