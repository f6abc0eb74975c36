"""The body of a request: inflated, parted into JSON and binary tensors, and read."""

import zlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError, from_json

from service.api.lengths import length
from service.engine.plan import SolverFields
from service.errors import (
    FieldError,
    InvalidError,
    MalformedError,
    TooLargeError,
    UnsupportedMediaTypeError,
    invalid,
    shortened,
)

HEADER_LENGTH = "inference-header-content-length"

LEVELS = 3
"""Priorities, of which 1 is the highest, 2 the default, and 0 means the default (Triton's schedule policy)."""

MOST_PARAMETERS = 64
"""Of a request; what could be told of a million is not even looked for."""


def _bounded(told: Any) -> Any:
    if isinstance(told, dict) and len(told) > MOST_PARAMETERS:
        raise PydanticCustomError("parameters", "at most {most} parameters", {"most": MOST_PARAMETERS})
    return told


BOUNDED = BeforeValidator(_bounded)
"""Bounds parameters of which unknown ones are refused, each with an error."""


class TensorParameters(BaseModel):
    """Parameters of an input; others are left to those who know them."""

    binary_data_size: Annotated[
        int | None,
        Field(strict=True, ge=0, description="The tensor's bytes, which follow the JSON, in the order of the inputs."),
    ] = None


class InputTensor(BaseModel):
    """A tensor of the request."""

    name: str
    shape: list[Annotated[int, Field(strict=True, ge=0)]] = Field(max_length=8)
    datatype: str
    parameters: TensorParameters = TensorParameters()
    data: Annotated[Any, Field(description="Row by row, flat or nested; left out where it is binary.")] = None


class OutputParameters(BaseModel):
    """Parameters of an output; others are left to those who know them."""

    binary_data: Annotated[bool | None, Field(strict=True, description="Whether it follows the JSON as bytes.")] = None
    classification: Annotated[
        int | None,
        Field(strict=True, ge=1, description="How many of the most probable classes to tell, as value:index:label."),
    ] = None


class RequestedOutput(BaseModel):
    """An output that the request asks for."""

    name: str
    parameters: OutputParameters = OutputParameters()


class InferParameters(SolverFields):
    """Parameters of the request: how to solve, and how to answer."""

    priority: Annotated[
        int | None, Field(ge=0, le=LEVELS, description="Whose images are begun first: 1, then 2 or 0, then 3.")
    ] = None
    timeout: Annotated[
        int | None, Field(ge=1_000, le=600_000_000, description="The same as deadline_ms, in microseconds.")
    ] = None
    binary_data_output: Annotated[
        bool, Field(strict=True, description="Whether outputs that do not say follow the JSON as bytes.")
    ] = False


class InferRequest(BaseModel):
    """The JSON of a request."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    id: Annotated[str | None, Field(description="Repeated in the answer.")] = None
    parameters: Annotated[InferParameters, BOUNDED] = InferParameters()
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: Annotated[
        list[RequestedOutput] | None, Field(max_length=64, description="Those to be told.  Default: all.")
    ] = None


class Told(NamedTuple):
    """What a body says.

    Attributes:
        request: the JSON; None for a body that is but the bytes of the only input.
        binary: what follows it.
    """

    request: InferRequest | None
    binary: memoryview


Model = TypeVar("Model", bound=BaseModel)


def parted(content: bytes, encoding: str, header_length: str | None, most: int) -> Told:
    """Read the body of a request for inference.

    Args:
        content: of the body.
        encoding: the header Content-Encoding.
        header_length: the header Inference-Header-Content-Length, if it is there.
        most: bytes of the body when it is inflated.

    Raises:
        UnsupportedMediaTypeError: the encoding is not taken.
        TooLargeError: the body is inflated to more.
        MalformedError: it cannot be inflated, the header is no length within it, or the JSON is none.
        InvalidError: a field is missing, of the wrong shape or out of range.
    """
    body = memoryview(inflated(content, encoding, most))
    if header_length is None:
        return Told(read_json(bytes(body), InferRequest), body[:0])
    head = _length(header_length, len(body))
    return Told(read_json(bytes(body[:head]), InferRequest) if head else None, body[head:])


def inflated(content: bytes, encoding: str, most: int) -> bytes:
    """The content of a body before it was compressed by gzip (RFC 1952) or deflate (zlib's form, RFC 1950)."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return content
    if encoding not in INFLATERS:
        message = f"must be one of {', '.join(INFLATERS)}, identity"
        raise UnsupportedMediaTypeError(FieldError("content-encoding", message, shortened(encoding)))
    try:
        body = INFLATERS[encoding](content, most + 1)
    except (EOFError, zlib.error) as error:
        raise MalformedError(FieldError("body", f"cannot be inflated: {error}")) from error
    if len(body) > most:
        raise TooLargeError(FieldError("body", f"at most {most:,} bytes when it is inflated", "more"))
    return body


def _inflater(window: int, members: int) -> Callable[[bytes, int], bytes]:
    """What inflates a stream of at most so many members, of a form that zlib knows by its window bits."""

    def inflate(content: bytes, most: int) -> bytes:
        body = b""
        for _ in range(members):
            inflating = zlib.decompressobj(window)
            body += inflating.decompress(content, most - len(body))
            if len(body) >= most:
                return body
            if not inflating.eof:
                raise EOFError("it ends too early")
            if not (content := inflating.unused_data):
                return body
        raise zlib.error("something follows its end")

    return inflate


INFLATERS = {"gzip": _inflater(16 + zlib.MAX_WBITS, 64), "deflate": _inflater(zlib.MAX_WBITS, 1)}
"""A body of gzip may have several members, each of which costs time of its own."""


async def read_object(request: Request, model: type[Model]) -> Model:
    """The JSON of a short request, whatever its media type; one without a body says nothing.

    Raises:
        MalformedError: it is no JSON.
        InvalidError: a field is of the wrong shape.
    """
    return read_json(await request.body() or b"{}", model)


def read_json(content: bytes, model: type[Model]) -> Model:
    """The JSON of a request.

    Raises:
        MalformedError: it is no JSON.
        InvalidError: a field is missing, of the wrong shape or out of range.
    """
    try:
        told = from_json(content)
    except ValueError as error:
        raise MalformedError(FieldError("body", f"is not JSON: {error}")) from error
    if not isinstance(told, dict):
        raise InvalidError(FieldError("body", "must be an object"))
    try:
        return model.model_validate(told)
    except ValidationError as error:
        raise invalid(error) from error


def _length(header: str, most: int) -> int:
    """The length of the JSON at the beginning of a body."""
    told = length(header)
    if told is None:
        raise MalformedError(FieldError(HEADER_LENGTH, "must be a number of bytes", shortened(header)))
    if told > most:
        message = f"is more than the body's {most:,} bytes"
        raise MalformedError(FieldError(HEADER_LENGTH, message, header))
    return told
