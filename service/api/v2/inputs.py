"""Reads the images of a request over REST."""

from collections.abc import Iterator
from typing import Any

from models.backends.answer import Images
from models.form import SIDE
from service.errors import FieldError, InvalidError
from service.inference.background import Work
from service.inference.pictures import base64_picture
from service.open_inference.inputs import (
    BYTES,
    NAME,
    SHAPE,
    field_of,
    images_of_bytes,
    images_of_numbers,
    images_of_pictures,
    only_input,
    row_count,
    split,
)
from service.open_inference.request import InputTensor
from service.settings import Settings

SIZE = "inputs.0.parameters.binary_data_size"


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
    tensor = only_input(inputs)
    size = tensor.parameters.binary_data_size
    if (size is None) == (tensor.data is None):
        wrong = "has neither data nor binary_data_size" if size is None else "has both data and binary_data_size"
        raise InvalidError(FieldError("inputs.0", f"{wrong}; it needs exactly one of them"))
    if (size or 0) != len(binary):
        message = f"must be {len(binary):,}, the number of bytes after the JSON"
        raise InvalidError(FieldError(SIZE, message, str(size or 0)))
    rows = row_count(tensor, settings)
    if tensor.datatype == BYTES:
        pictures = split(binary, rows) if size is not None else _decode_base64(tensor.data, rows)
        return (yield from images_of_pictures(pictures, settings))
    if size is None:
        return images_of_numbers(tensor.datatype, rows, tensor.data)
    return images_of_bytes(tensor.datatype, rows, binary, SIZE)


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


def _decode_base64(data: Any, rows: int) -> Iterator[bytes]:
    """Decode the pictures of a BYTES tensor in JSON: base64 texts, in a flat list or each in a list of its own."""
    texts = data if isinstance(data, list) else []
    texts = [text[0] if isinstance(text, list) and len(text) == 1 else text for text in texts]
    if len(texts) != rows or not all(isinstance(text, str) for text in texts):
        message = f"must be {rows:,} texts for the shape, each a picture in base64"
        raise InvalidError(FieldError("inputs.0.data", message))
    for row, text in enumerate(texts):
        yield base64_picture(field_of(row), text)
