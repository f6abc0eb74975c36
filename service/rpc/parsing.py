"""Parses messages, after it has counted their fields.

A field takes two bytes and up to a hundred times as much memory once it is parsed. Without a limit, 8 MiB of empty
fields would stop the event loop for a quarter of a second, and reading them would take 14 s and 1.5 GB.
"""

from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError

from service.errors import FieldError, TooLargeError

SHORT_BYTES = 4096
"""A message of at most so many bytes is parsed at once: it has too few fields to take long."""

LEAST_FIELDS = 1024
"""A message may have so many fields, and one more for each picture."""

VARINT, LENGTH, FIXED = 0, 2, {1: 8, 5: 4}
"""The forms of a field, and the bytes of those of fixed length (protobuf.dev/programming-guides/encoding)."""


def parser(kind: Any, most: int) -> Callable[[bytes], Any]:
    """A function that parses messages.

    Args:
        kind: the class of the messages.
        most: the greatest number of fields of a message and of all messages inside. A packed list is one field.

    The function raises:
        DecodeError: the bytes are not such a message.
        TooLargeError: the message has too many fields.
    """

    def parse(content: bytes) -> Any:
        if len(content) > SHORT_BYTES and _fields_left(memoryview(content), kind.DESCRIPTOR, most) < 0:
            raise TooLargeError(FieldError("message", f"at most {most:,} fields", "more"))
        return kind.FromString(content)

    return parse


def _fields_left(content: memoryview, descriptor: Any, most: int) -> int:
    """How many fields a message has less than the given number; negative if it has more."""
    at, left = 0, most
    while at < len(content) and left >= 0:
        left -= 1
        tag, at = _varint(content, at)
        form = tag & 7
        if form == LENGTH:
            length, start = _varint(content, at)
            at = start + length
            field = descriptor.fields_by_number.get(tag >> 3)
            if field is not None and field.message_type is not None:
                left = _fields_left(content[start:at], field.message_type, left)
        elif form == VARINT:
            _, at = _varint(content, at)
        elif form in FIXED:
            at += FIXED[form]
        else:
            raise DecodeError(f"a field has the form {form}")
    return left


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """The number at a position, seven bits in each byte, and the position after it."""
    number = shift = 0
    for end in range(at, min(at + 10, len(content))):
        number |= (content[end] & 127) << shift
        if content[end] < 128:
            return number, end + 1
        shift += 7
    raise DecodeError("a number has no end")
