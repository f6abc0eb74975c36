"""Parses messages, after it has counted their fields and numbers.

A field takes two bytes and up to a hundred times as much memory once it is parsed. Without a limit, 8 MiB of empty
fields would stop the event loop for a quarter of a second, and reading them would take 14 s and 1.5 GB. 8 MiB of packed
numbers would stop it for 30 to 50 ms. A thread would not help, because the parser holds Python's lock.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError

from models.form import SIDE
from service.errors import FieldError, TooLargeError

SHORT_BYTES = 4096
"""A message of at most so many bytes is parsed at once: it has too few fields to take long."""

LEAST_FIELDS = 1024
"""A message may have so many fields, and one more for each picture."""

LEAST_NUMBERS = 1024
"""A message may have so many numbers in packed lists, and so many more as the images have pixels."""

VARINT, LENGTH, FIXED = 0, 2, {1: 8, 5: 4}
"""The forms of a field, and the bytes of those of fixed length (protobuf.dev/programming-guides/encoding)."""

TEXTS = frozenset({FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_STRING})
NUMBER_BYTES = {
    **dict.fromkeys((FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32), 4),
    **dict.fromkeys((FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64), 8),
}
"""The bytes of a number of fixed length in a packed list. All other types vary in length."""


class Limits(NamedTuple):
    """What a message may have, with all messages inside.

    Attributes:
        fields: the greatest number of fields. A packed list of numbers is one field.
        numbers: the greatest number of numbers in packed lists.
    """

    fields: int
    numbers: int

    @classmethod
    def of(cls, max_images: int) -> "Limits":
        """The limits for a number of images."""
        return cls(LEAST_FIELDS + max_images, LEAST_NUMBERS + max_images * SIDE * SIDE)


def parser(kind: Any, limits: Limits) -> Callable[[bytes], Any]:
    """A function that parses messages.

    Args:
        kind: the class of the messages.
        limits: the limits of a message.

    The function raises:
        DecodeError: the bytes are not such a message.
        TooLargeError: the message has too many fields or numbers.
    """

    def parse(content: bytes) -> Any:
        if len(content) > SHORT_BYTES:
            left = _left(memoryview(content), kind.DESCRIPTOR, limits)
            for name, most, rest in zip(Limits._fields, limits, left, strict=True):
                if rest < 0:
                    raise TooLargeError(FieldError("message", f"at most {most:,} {name}", "more"))
        return kind.FromString(content)

    return parse


def _left(content: memoryview, descriptor: Any, limits: Limits) -> Limits:
    """By how much a message is below the limits. If one of the results is negative, the message exceeds this limit."""
    at, (fields, numbers) = 0, limits
    while at < len(content) and fields >= 0 and numbers >= 0:
        fields -= 1
        tag, at = _varint(content, at)
        form = tag & 7
        if form == LENGTH:
            length, start = _varint(content, at)
            at = start + length
            field = descriptor.fields_by_number.get(tag >> 3)
            if field is not None and field.message_type is not None:
                fields, numbers = _left(content[start:at], field.message_type, Limits(fields, numbers))
            elif field is not None and field.type not in TEXTS:
                numbers -= _numbers(content[start:at], NUMBER_BYTES.get(field.type))
        elif form == VARINT:
            _, at = _varint(content, at)
        elif form in FIXED:
            at += FIXED[form]
        else:
            raise DecodeError(f"a field has the form {form}")
    return Limits(fields, numbers)


def _numbers(packed: memoryview, size: int | None) -> int:
    """The length of a packed list.

    Args:
        packed: the bytes of the list.
        size: the bytes of each number; None if they vary. Then the last byte of a number is less than 128.
    """
    if size is not None:
        return len(packed) // size
    return int(np.count_nonzero(np.frombuffer(packed, np.uint8) < 128))


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """The number at a position, seven bits in each byte, and the position after it."""
    number = shift = 0
    for end in range(at, min(at + 10, len(content))):
        number |= (content[end] & 127) << shift
        if content[end] < 128:
            return number, end + 1
        shift += 7
    raise DecodeError("a number has no end")
