"""Pictures within a request, with errors that say where."""

import base64
import binascii

from models.backends.answer import Images
from service.errors import FieldError, InvalidError, MalformedError, TooLargeError
from service.pictures import BlankPictureError, PictureTooLargeError, UndecodablePictureError, decode
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
        InvalidError: there is no ink on it.
    """
    try:
        return decode(content, settings.max_pixels)
    except UndecodablePictureError as error:
        raise MalformedError(FieldError(field, str(error))) from error
    except PictureTooLargeError as error:
        raise TooLargeError(FieldError(field, str(error))) from error
    except BlankPictureError as error:
        raise InvalidError(FieldError(field, str(error))) from error


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
