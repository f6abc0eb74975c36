"""Converts the tensors of a request to images."""

import struct
from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from models.backends.answer import Images
from models.form import SIDE
from service.api.numbers import numbers
from service.api.pictures import base64_picture, picture
from service.api.v2.body import InputTensor
from service.errors import FieldError, InvalidError, TooLargeError, shortened
from service.inference.background import Work
from service.settings import Settings

NAME = "image"
SHAPE = (SIDE, SIDE)
DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
BYTES = "BYTES"
PREFIX = struct.Struct("<I")
"""The length before each element of a BYTES tensor in binary form."""


def read_images(inputs: list[InputTensor], binary: memoryview, settings: Settings) -> Work[Images]:
    """Read the images of a request from its one input, each picture in a step.

    Pictures are converted to MNIST's form; grey levels are not.

    Args:
        inputs: the inputs in the JSON.
        binary: the bytes after the JSON.
        settings: hold the limits.

    Raises:
        InvalidError: there is not exactly one input with the name image, or its parts do not fit together.
        TooLargeError: there are too many images, or a picture has too many pixels.
        MalformedError: a picture cannot be decoded.
    """
    if [tensor.name for tensor in inputs] != [NAME]:
        named = ", ".join(shortened(tensor.name) for tensor in inputs)
        raise InvalidError(FieldError("inputs", f"must be one tensor with the name {NAME}", named))
    tensor = inputs[0]
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        wrong = "has neither data nor binary_data_size" if size is None else "has both data and binary_data_size"
        raise InvalidError(FieldError("inputs.0", f"{wrong}; it needs exactly one of them"))
    if (size or 0) != len(binary):
        message = f"must be {len(binary):,}, the number of bytes after the JSON"
        raise InvalidError(FieldError("inputs.0.parameters.binary_data_size", message, str(size or 0)))
    rows = _row_count(tensor, settings)
    if tensor.datatype == BYTES:
        elements = _split(binary, rows) if size is not None else _decode_base64(tensor.data, rows)
        decoded = []
        for row, each in enumerate(elements):
            decoded.append((yield from picture(field_of(row), each, settings)))
        return np.stack(decoded)
    shape = (rows, *SHAPE)
    if size is None:
        try:
            return _pixels(tensor.datatype, numbers(tensor.data, shape))
        except ValueError as error:
            message = f"must be {prod(shape):,} numbers for the shape {list(shape)}, flat or nested ({error})"
            raise InvalidError(FieldError("inputs.0.data", message)) from error
    dtype = DTYPES[tensor.datatype]
    if size != (expected := rows * SIDE * SIDE * dtype.itemsize):
        message = f"must be {expected:,} for {tensor.datatype} {list(shape)}"
        raise InvalidError(FieldError("inputs.0.parameters.binary_data_size", message, f"{size:,}"))
    return _pixels(tensor.datatype, np.frombuffer(binary, dtype).reshape(shape))


def field_of(row: int) -> str:
    """The field of a request that holds the image of a row."""
    return f"inputs.0.data.{row}"


def raw_input(binary: memoryview) -> InputTensor:
    """The input of a body that holds only the bytes of UINT8 images. Their number follows from the number of bytes."""
    return InputTensor.model_validate(
        {
            "name": NAME,
            "shape": [-(-len(binary) // (SIDE * SIDE)), *SHAPE],
            "datatype": "UINT8",
            "parameters": {"binary_data_size": len(binary)},
        }
    )


def _row_count(tensor: InputTensor, settings: Settings) -> int:
    """Check the shape of a tensor, and return its number of images."""
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


def _split(binary: memoryview, rows: int) -> Iterator[bytes]:
    """Split a BYTES tensor in binary form into its elements. The length of each element precedes the element."""
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


def _decode_base64(data: Any, rows: int) -> Iterator[bytes]:
    """Decode the pictures of a BYTES tensor in JSON: base64 texts, in a flat list or each in a list of its own."""
    texts = data if isinstance(data, list) else []
    texts = [text[0] if isinstance(text, list) and len(text) == 1 else text for text in texts]
    if len(texts) != rows or not all(isinstance(text, str) for text in texts):
        message = f"must be {rows:,} texts for the shape, each a picture in base64"
        raise InvalidError(FieldError("inputs.0.data", message))
    for row, text in enumerate(texts):
        yield base64_picture(field_of(row), text)
