"""Reads JSON documents from bodies, and checks which fields they have. All protocols use these functions."""

from typing import Any

import numpy as np
from pydantic_core import from_json

from models.form import SIDE
from service.errors import FieldError, InvalidError, MalformedError, TooLargeError
from service.inference.background import Step

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

LEAST_VALUES, VALUES_PER_IMAGE = 1_000, SIDE * SIDE
"""A document may have so many values, and so many more for each image. Values are counted by the commas."""

LEAST_PARTS, PARTS_PER_IMAGE = 2_000, SIDE + 4
"""The same for its other parts: lists, objects, names and texts. They are counted by brackets, colons and quotes.

A part takes up to twenty times as long to parse as a number. An image of numbers has 29 lists, one for each row and one
for the image. The parser holds Python's lock, so all other requests of the process wait for it: up to 7 ms for the
numbers of 256 images. Without these limits, they would wait 0.4 s for 8 MiB of names."""

LONG_BYTES = 2**16
"""JSON of at most so many bytes is parsed within a millisecond."""

LEAST_BYTES, BYTES_PER_VALUE = 2**14, 64
"""Outside of texts, a document may have so many bytes, and so many more for each value and part. The time to parse a
number grows with the square of its digits."""


def parsing(content: bytes) -> Step:
    """What the step does that parses JSON."""
    return Step.parse if len(content) > LONG_BYTES else Step.short


def read_document(content: bytes, images: int = 0, must_be: str = "an object") -> dict[str, Any]:
    """Parse the JSON object in a body. A byte order mark before the JSON is ignored (RFC 8259, section 8.1).

    Args:
        content: the body, in UTF-8.
        images: the greatest number of images that the document may hold.
        must_be: what the object is, for the error.

    Raises:
        TooLargeError: the document has too many values or other parts, or too long numbers.
        MalformedError: the content is not JSON.
        InvalidError: the JSON is not an object.
    """
    _check_size(content, images)
    try:
        document = from_json(content.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:
        raise MalformedError(FieldError("body", f"is not JSON: {error}")) from error
    if not isinstance(document, dict):
        raise InvalidError(FieldError("body", f"must be {must_be}"))
    return document


def _check_size(content: bytes, images: int) -> None:
    """Check the number of values and parts, and the lengths of numbers, without parsing.

    NumPy counts 8 MiB in 7 ms, without Python's lock.
    """
    most_values, most_parts = LEAST_VALUES + images * VALUES_PER_IMAGE, LEAST_PARTS + images * PARTS_PER_IMAGE
    if len(content) <= min(most_values, most_parts, LEAST_BYTES):
        return
    characters, counted = np.frombuffer(content, np.uint8), 0
    for kind, marks, most in (
        ("values", b",", most_values),
        ("lists, objects, names and texts", b'[{:"', most_parts),
    ):
        count = sum(int(np.count_nonzero(characters == mark)) for mark in marks)
        if count > most:
            limit = f"at most {most:,} {kind}, by the number of {' '.join(marks.decode())}"
            raise TooLargeError(FieldError("body", limit, f"{count:,}"))
        counted += count
    most_bytes = LEAST_BYTES + BYTES_PER_VALUE * counted
    if len(content) > most_bytes and (outside := sum(map(len, content.split(b'"')[::2]))) > most_bytes:
        limit = (
            f"at most {most_bytes:,} bytes outside of texts, which is {BYTES_PER_VALUE} for each value and part, and "
            f"{LEAST_BYTES:,} more"
        )
        raise TooLargeError(FieldError("body", limit, f"{outside:,} bytes"))
