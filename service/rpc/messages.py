"""Reads the messages of requests for inference, and writes those of their answers."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from tritonclient.grpc.service_pb2 import ModelInferRequest, ModelInferResponse

from models.backends.answer import Images
from models.form import SIDE
from service.engine.request import EngineRequest
from service.errors import FieldError, InvalidError
from service.inference.background import Work
from service.open_inference.inputs import (
    BYTES,
    images_of_bytes,
    images_of_numbers,
    images_of_pictures,
    only_input,
    row_count,
    split,
)
from service.open_inference.outputs import OutputChoice, OutputTensor, tensors
from service.open_inference.request import InferRequest, InputTensor, validated
from service.settings import Settings

INPUT_CONTENTS = {"UINT8": "uint_contents", "FP32": "fp32_contents", BYTES: "bytes_contents"}
"""The field of the typed contents of an input, by the datatype."""

OUTPUT_CONTENTS = {
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
"""The field of the typed contents of an output, by the datatype."""


KEPT = 256
"""How many requests and answers are kept without their values. Most requests repeat the fields of an earlier one."""

LONGEST_KEPT = 1024
"""A request is kept if its fields have at most so many bytes."""


class Parts(NamedTuple):
    """The parts of a request for inference.

    Attributes:
        fields: the message without the other parts, so it is short and often equal to that of an earlier request.
        raw: the elements of `raw_input_contents`.
        id: the id of the request; None if there is none.
    """

    fields: ModelInferRequest
    raw: list[bytes]
    id: str | None

    @classmethod
    def of(cls, message: ModelInferRequest) -> "Parts":
        """Take a message apart, which must not be used any more."""
        parts = cls(message, message.raw_input_contents[:], message.id or None)
        message.ClearField("raw_input_contents")
        message.ClearField("id")
        return parts

    @property
    def typed(self) -> bool:
        """Whether the values are typed contents. The answer then has typed contents too."""
        return not self.raw


def read_parameters(parameters: Mapping[str, Any]) -> dict[str, bool | int | float | str]:
    """The parameters of a message by their names. A parameter without a value is absent."""
    kinds = ((name, value, value.WhichOneof("parameter_choice")) for name, value in parameters.items())
    return {name: getattr(value, kind) for name, value, kind in kinds if kind is not None}


def read_request(parts: Parts) -> InferRequest:
    """Read the fields of a request, except for its contents and its id.

    The result may be that of an earlier request with the same fields, so it must not be changed.

    Raises:
        InvalidError: a field is missing, has the wrong shape, or is out of range.
    """
    if parts.typed or parts.fields.ByteSize() > LONGEST_KEPT:
        return _read_request(parts.fields)
    return _kept_request(parts.fields.SerializeToString(deterministic=True))


@lru_cache(KEPT)
def _kept_request(content: bytes) -> InferRequest:
    return _read_request(ModelInferRequest.FromString(content))


def _read_request(fields: ModelInferRequest) -> InferRequest:
    inputs = [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "datatype": tensor.datatype,
            "parameters": read_parameters(tensor.parameters),
        }
        for tensor in fields.inputs
    ]
    outputs = [{"name": output.name, "parameters": read_parameters(output.parameters)} for output in fields.outputs]
    document = {"parameters": read_parameters(fields.parameters), "inputs": inputs, "outputs": outputs}
    return validated(document, InferRequest)


def read_images(parts: Parts, inputs: list[InputTensor], settings: Settings) -> Work[Images]:
    """Read the images of a request from its one input, each picture in a step.

    Pictures are converted to MNIST's form; grey levels are not.

    Args:
        parts: the request.
        inputs: the inputs, as `read_request` returns them.
        settings: hold the limits.

    Raises:
        InvalidError: there is not exactly one input with the name image, or its parts do not fit together.
        TooLargeError: there are too many images, or a picture has too many pixels.
        MalformedError: a picture cannot be decoded.
    """
    tensor = only_input(inputs)
    rows = row_count(tensor, settings)
    contents = parts.fields.inputs[0].contents
    typed = [field.name for field, _ in contents.ListFields()]
    if len(parts.raw) + len(typed) != 1:
        given = [*typed, *["raw_input_contents"] * len(parts.raw)]
        message = "needs its values once, either as contents or as one element of raw_input_contents"
        raise InvalidError(FieldError("inputs.0", message, ", ".join(given[:4]) or None))
    if typed:
        return (yield from _read_typed(contents, typed[0], tensor, rows, settings))
    raw = memoryview(parts.raw[0])
    if tensor.datatype == BYTES:
        return (yield from images_of_pictures(split(raw, rows), settings))
    return images_of_bytes(tensor.datatype, rows, raw, "raw_input_contents.0")


def _read_typed(contents: Any, field: str, tensor: InputTensor, rows: int, settings: Settings) -> Work[Images]:
    """Read the images of typed contents, which are in a field that depends on the datatype."""
    if field != (expected := INPUT_CONTENTS[tensor.datatype]):
        raise InvalidError(FieldError("inputs.0.contents", f"must be {expected} for {tensor.datatype}", field))
    values = getattr(contents, field)[: rows * SIDE * SIDE + 1]  # one more than fits is enough to see the error
    if tensor.datatype != BYTES:
        return images_of_numbers(tensor.datatype, rows, values)
    if len(values) != rows:
        message = f"must be {rows:,} elements for the shape, each a picture"
        raise InvalidError(FieldError("inputs.0.contents.bytes_contents", message, f"{len(values):,}"))
    return (yield from images_of_pictures(values, settings))


def write_answer(
    answered: EngineRequest, outputs: Iterable[OutputChoice], request_id: str | None, *, typed: bool
) -> ModelInferResponse:
    """Write the answer to a request, with typed contents or with raw contents."""
    model, columns = answered.model, list(tensors(answered, outputs))
    raw = [] if typed else [tensor.binary() for tensor in columns]
    answer = ModelInferResponse(id=request_id or "", raw_output_contents=raw)
    heads = tuple((tensor.choice.name, tensor.datatype, *tensor.shape) for tensor in columns)
    answer.MergeFrom(_answer_without_values(model.name, model.version, heads))
    if typed:
        for output, tensor in zip(answer.outputs, columns, strict=True):
            getattr(output.contents, OUTPUT_CONTENTS[tensor.datatype]).extend(_typed(tensor))
    return answer


@lru_cache(KEPT)
def _answer_without_values(model: str, version: str, heads: tuple[tuple[Any, ...], ...]) -> ModelInferResponse:
    """An answer without values. `heads` has the name, the datatype and the shape of each output."""
    answer = ModelInferResponse(model_name=model, model_version=version)
    for name, datatype, *shape in heads:
        answer.outputs.add(name=name, datatype=datatype, shape=shape)
    return answer


def _typed(tensor: OutputTensor) -> list[Any]:
    """The values of a tensor in Python's types. NaN stands for a value that does not exist."""
    if tensor.datatype == BYTES:
        return [str(value).encode() for value in tensor.values()]
    return [np.nan if value is None else value for value in tensor.values()]
