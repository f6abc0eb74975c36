"""Converts the tensors of a request to images."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.form import SIDE
from service.errors import FieldError, InvalidError, TooLargeError, shortened
from service.inference.background import Work
from service.inference.numbers import numbers
from service.inference.pictures import picture
from service.open_inference.request import InputTensor
from service.settings import Settings

NAME = "image"
SHAPE = (SIDE, SIDE)
DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
BYTES = "BYTES"
PREFIX = struct.Struct("<I")
"""The length before each element of a BYTES tensor in binary form."""


def only_input(inputs: Sequence[InputTensor]) -> InputTensor:
    """The one input of a request.

    Raises:
        InvalidError: there is not exactly one input with the name image.
    """
    if [tensor.name for tensor in inputs] != [NAME]:
        named = ", ".join(shortened(tensor.name) for tensor in inputs)
        raise InvalidError(FieldError("inputs", f"must be one tensor with the name {NAME}", named))
    return inputs[0]


def row_count(tensor: InputTensor, settings: Settings) -> int:
    """Check the datatype and the shape of a tensor, and return its number of images.

    Raises:
        InvalidError: the input does not have such a datatype or shape.
        TooLargeError: there are too many images.
    """
    if tensor.datatype not in {*DTYPES, BYTES}:
        message = f"must be one of {', '.join((*DTYPES, BYTES))}"
        raise InvalidError(FieldError("inputs.0.datatype", message, shortened(tensor.datatype)))
    rows, *rest = tensor.shape or [0]
    expected = [*SHAPE] if tensor.datatype != BYTES else []
    if rest != expected and not (tensor.datatype == BYTES and rest == [1]):
        message = f"must be {[-1, *expected]} for {tensor.datatype}"
        raise InvalidError(FieldError("inputs.0.shape", message, shortened(str(tensor.shape))))
    if rows == 0:
        raise InvalidError(FieldError("inputs.0.shape", "must have at least one image", str(tensor.shape)))
    if rows > settings.max_images:
        message = f"at most {settings.max_images:,} images in a request"
        raise TooLargeError(FieldError("inputs.0.shape", message, shortened(str(tensor.shape))))
    return rows


def field_of(row: int) -> str:
    """The field of a request that holds the image of a row."""
    return f"inputs.0.data.{row}"


def images_of_pictures(pictures: Iterable[bytes], settings: Settings) -> Work[Images]:
    """Decode PNG and JPEG files, each in a step, and convert them to MNIST's form.

    Raises:
        TooLargeError: a picture has too many pixels.
        MalformedError: a picture cannot be decoded.
        InvalidError: a picture shows no ink, or several digits.
    """
    decoded = []
    for row, content in enumerate(pictures):
        decoded.append((yield from picture(field_of(row), content, settings)))
    return np.stack(decoded)


def images_of_numbers(datatype: str, rows: int, data: Any) -> Images:
    """The images of a list of numbers, flat or nested.

    Raises:
        InvalidError: the list does not have the shape of the tensor, or holds a value that is not a grey level.
    """
    shape = (rows, *SHAPE)
    try:
        values = numbers(data, shape)
    except ValueError as error:
        message = f"must be {prod(shape):,} numbers for the shape {list(shape)}, flat or nested ({error})"
        raise InvalidError(FieldError("inputs.0.data", message)) from error
    return _pixels(datatype, values)


def images_of_bytes(datatype: str, rows: int, binary: memoryview, size_field: str) -> Images:
    """The images of the bytes of a tensor, row by row, little-endian.

    Raises:
        InvalidError: the number of bytes does not fit the shape, or a value is not a grey level. `size_field` is the
            field of the request that is to blame for the number.
    """
    shape, dtype = (rows, *SHAPE), DTYPES[datatype]
    if len(binary) != (expected := prod(shape) * dtype.itemsize):
        message = f"must be {expected:,} for {datatype} {list(shape)}"
        raise InvalidError(FieldError(size_field, message, f"{len(binary):,}"))
    return _pixels(datatype, np.frombuffer(binary, dtype).reshape(shape))


def split(binary: memoryview, rows: int) -> Iterator[bytes]:
    """Split a BYTES tensor in binary form into its elements. The length of each element precedes the element.

    Raises:
        InvalidError: the lengths do not fit the number of bytes.
    """
    at = 0
    for row in range(rows):
        start = at + PREFIX.size
        if start > len(binary):
            raise InvalidError(FieldError("inputs.0.data", f"ends before element {row} of {rows}"))
        (length,) = PREFIX.unpack_from(binary, at)
        at = start + length
        if at > len(binary):
            message = f"declares a length of {length:,} bytes, but {len(binary) - start:,} bytes are left"
            raise InvalidError(FieldError(f"inputs.0.data.{row}", message))
        yield bytes(binary[start:at])
    if at < len(binary):
        message = f"has {len(binary) - at:,} bytes after element {rows - 1}, the last element"
        raise InvalidError(FieldError("inputs.0.data", message))


def _pixels(datatype: str, values: npt.NDArray[Any]) -> Images:
    """Grey levels from a tensor. UINT8 values are unchanged; FP32 values, 0..1, are rounded to the nearest level."""
    largest = 255 if datatype == "UINT8" else 1
    with np.errstate(invalid="ignore"):
        valid = (values >= 0) & (values <= largest)
        if datatype == "UINT8":
            valid &= values == np.floor(values)
    if not valid.all():
        index = tuple(int(each) for each in np.argwhere(~valid)[0])
        kind = "whole numbers from 0 to 255" if datatype == "UINT8" else "numbers from 0 to 1"
        raise InvalidError(
            FieldError("inputs.0.data", f"must hold {kind} for {datatype}", f"{values[index]:.10g} at {index}")
        )
    # We round in double precision, so that a number gives the same level from JSON and from binary form.
    levels = values if datatype == "UINT8" else np.rint(np.multiply(values, 255, dtype=np.float64))
    return levels.astype(np.uint8)
