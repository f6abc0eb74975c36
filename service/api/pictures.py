"""Pictures and grey levels within a request, with errors that say where."""

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
    """A PNG or JPEG in MNIST's form, ``[28, 28]``.

    Args:
        field: where it stands in the request.
        content: of the file.
        settings: with the limits.

    Raises:
        MalformedError: it cannot be decoded.
        TooLargeError: it has too many pixels.
        InvalidError: it shows no ink, or several digits.
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
    """Images of grey levels in MNIST's form: the same digits as of the same images as PNG.

    Args:
        field: where an image stands in the request, given its row.
        images: uint8 ``[rows, 28, 28]``.

    Raises:
        InvalidError: an image shows no ink, or several digits.
    """
    try:
        return rows_to_mnist(images)
    except RowError as error:
        raise InvalidError(FieldError(field(error.row), str(error))) from error


def base64_picture(field: str, text: str) -> bytes:
    """The bytes of a base64 text, which may be a data URL.

    Raises:
        MalformedError: it is none.
    """
    encoded = text.partition(";base64,")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError(FieldError(field, f"is not base64 ({error})")) from error
