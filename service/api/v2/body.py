"""Reads the body of a request: decompresses it, splits it into JSON and binary tensors, and parses the JSON."""

import zlib
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from models.solvers.settings import NOT_BOOLEAN
from service.api.documents import read_document
from service.api.lengths import length
from service.engine.plan import SolverFields
from service.errors import (
    FieldError,
    MalformedError,
    TooLargeError,
    UnsupportedMediaTypeError,
    invalid,
    shortened,
)

HEADER_LENGTH = "inference-header-content-length"

LEVELS = 3
"""Number of priority levels: 1 is the highest, 2 is the default, and 0 means the default (Triton's schedule policy)."""

MOST_PARAMETERS = 64
"""Limit of the parameters of a request. We count them before we validate them, so that a million wrong ones cost no
time."""


MOST_SHORT_BYTES = 2**16
"""The greatest number of bytes of JSON without images. The event loop parses it."""

IGNORED_PARAMETERS = frozenset({"content_type", "headers"})
"""Parameters of a request that clients of other servers always send, and that have no effect on an answer. MLServer's
client sends both."""


def _null_is_empty(parameters: Any) -> Any:
    return {} if parameters is None else parameters


def _relevant(parameters: Any) -> Any:
    if not isinstance(parameters, dict):
        return _null_is_empty(parameters)
    if len(parameters) > MOST_PARAMETERS:
        raise PydanticCustomError("parameters", "at most {most} parameters", {"most": MOST_PARAMETERS})
    return {name: value for name, value in parameters.items() if name not in IGNORED_PARAMETERS}


def optional(model: type[BaseModel]) -> BeforeValidator:
    """Takes null for an empty object, because many programs write what is absent as null."""
    return BeforeValidator(_null_is_empty, json_schema_input_type=model | None)


def relevant(model: type[BaseModel]) -> BeforeValidator:
    """The same. It also removes the parameters that are ignored, and limits the number of parameters.

    Without the limit, each of a million unknown parameters would give an error.
    """
    return BeforeValidator(_relevant, json_schema_input_type=model | None)


class InferParameters(SolverFields):
    """Parameters of the request: how to solve, and how to answer."""

    priority: Annotated[
        int | None,
        Field(ge=0, le=LEVELS, description="Decides which queued images start first: 1, then 2 or 0, then 3."),
        NOT_BOOLEAN,
    ] = None
    timeout: Annotated[
        int | None,
        Field(ge=1_000, le=600_000_000, description="The same as deadline_ms, in microseconds."),
        NOT_BOOLEAN,
    ] = None
    binary_data_output: Annotated[
        bool | None,
        Field(strict=True, description="Whether outputs without binary_data follow the JSON as bytes.  Default: no."),
    ] = None


class OpenObject(BaseModel):
    """An object in the JSON of a request. Unknown keys are ignored, because they may be meant for other servers.

    But a parameter of the request in the wrong object is refused: the caller would believe that it had an effect.
    """

    @model_validator(mode="before")
    @classmethod
    def _refuse_misplaced(cls, document: Any) -> Any:
        wrong = sorted(InferParameters.model_fields.keys() & document.keys()) if isinstance(document, dict) else ()
        if wrong:
            raise PydanticCustomError(
                "misplaced", "{names} must be in the parameters of the request", {"names": ", ".join(wrong)}
            )
        return document


class TensorParameters(OpenObject):
    """Parameters of an input."""

    binary_data_size: Annotated[
        int | None,
        Field(
            strict=True,
            ge=0,
            description="The number of bytes of the tensor. The tensors follow the JSON in the order of the inputs.",
        ),
    ] = None


class InputTensor(OpenObject):
    """A tensor of the request."""

    name: str
    shape: list[Annotated[int, Field(strict=True, ge=0)]] = Field(max_length=8)
    datatype: str
    parameters: Annotated[TensorParameters, optional(TensorParameters)] = Field(default_factory=TensorParameters)
    data: Annotated[Any, Field(description="The values row by row, flat or nested. Absent for a binary tensor.")] = None


class OutputParameters(OpenObject):
    """Parameters of an output."""

    binary_data: Annotated[
        bool | None, Field(strict=True, description="Whether the output follows the JSON as bytes.")
    ] = None
    classification: Annotated[
        int | None,
        Field(
            strict=True, ge=1, description="How many of the most probable classes to return, each as value:index:label."
        ),
    ] = None


class RequestedOutput(OpenObject):
    """An output that the request names."""

    name: str
    parameters: Annotated[OutputParameters, optional(OutputParameters)] = Field(default_factory=OutputParameters)


class InferRequest(OpenObject):
    """The JSON of a request for inference."""

    model_config = ConfigDict(json_schema_extra={"additionalProperties": True})

    id: Annotated[str | None, Field(description="Repeated in the answer.")] = None
    parameters: Annotated[InferParameters, relevant(InferParameters)] = Field(default_factory=InferParameters)
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=16)]
    outputs: Annotated[
        list[RequestedOutput] | None, Field(max_length=64, description="The outputs to return.  Default: all.")
    ] = None


class InferBody(NamedTuple):
    """The body of a request for inference.

    Attributes:
        request: the JSON; None for a body that holds only the bytes of its one input.
        binary: the bytes after the JSON.
    """

    request: InferRequest | None
    binary: memoryview


Model = TypeVar("Model", bound=BaseModel)


def parse_body(
    content: bytes,
    encoding: str,
    header_length: str | None,
    max_bytes: int,
    max_images: int,
    note_id: Callable[[str], object],
) -> InferBody:
    """Parse the body of a request for inference.

    Args:
        content: the bytes of the body.
        encoding: the header Content-Encoding.
        header_length: the header Inference-Header-Content-Length; None if it is absent.
        max_bytes: the most bytes of the body after decompression.
        max_images: the most images of a request, which limit the size of the JSON.
        note_id: called with the id in the JSON, before the rest of the JSON is validated.

    Raises:
        UnsupportedMediaTypeError: the encoding is not supported.
        TooLargeError: the decompressed body has too many bytes, or the JSON has too many values.
        MalformedError: the body cannot be decompressed, the header is not a length within the body, or the JSON is
            malformed.
        InvalidError: a field is missing, has the wrong shape, or is out of range.
    """
    body = memoryview(decompress(content, encoding, max_bytes))
    head = len(body) if header_length is None else _length(header_length, len(body))
    if header_length is not None and head == 0:
        return InferBody(None, body)
    document = read_document(bytes(body[:head]), max_images)
    if isinstance(document.get("id"), str):
        note_id(document["id"])
    return InferBody(_validated(document, InferRequest), body[head:])


def decompress(content: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a body that was compressed by gzip (RFC 1952) or deflate (in zlib's format, RFC 1950)."""
    encoding = encoding.strip().lower()
    if encoding in {"", "identity"}:
        return content
    if encoding not in DECOMPRESSORS:
        message = f"must be one of {', '.join(DECOMPRESSORS)}, identity"
        raise UnsupportedMediaTypeError(FieldError("content-encoding", message, shortened(encoding)))
    try:
        body = DECOMPRESSORS[encoding](content, max_bytes + 1)
    except (EOFError, zlib.error) as error:
        raise MalformedError(FieldError("body", f"cannot be decompressed: {error}")) from error
    if len(body) > max_bytes:
        raise TooLargeError(FieldError("body", f"at most {max_bytes:,} bytes after decompression", "more"))
    return body


def _decompressor(window: int, members: int) -> Callable[[bytes, int], bytes]:
    """A function that decompresses a stream, and stops once it has enough bytes.

    Args:
        window: zlib's window bits, which also select the format of the stream.
        members: the greatest number of members of a stream.
    """

    def decompress_stream(content: bytes, enough: int) -> bytes:
        body = b""
        for _ in range(members):
            member = zlib.decompressobj(window)
            body += member.decompress(content, enough - len(body))
            if len(body) >= enough:
                return body
            if not member.eof:
                raise EOFError("the stream ends too early")
            if not (content := member.unused_data):
                return body
        raise zlib.error("there are bytes after the end of the stream")

    return decompress_stream


DECOMPRESSORS = {"gzip": _decompressor(16 + zlib.MAX_WBITS, 64), "deflate": _decompressor(zlib.MAX_WBITS, 1)}
"""A gzip body may have several members. Their number is limited, because each member takes time."""


async def read_object(request: Request, model: type[Model]) -> Model:
    """Parse the JSON of a short request and ignore its media type. A missing body counts as an empty object.

    Raises:
        TooLargeError: the body is too large.
        MalformedError: the body is not JSON.
        InvalidError: a field has the wrong shape.
    """
    content = await request.body() or b"{}"
    if len(content) > MOST_SHORT_BYTES:
        raise TooLargeError(FieldError("body", f"at most {MOST_SHORT_BYTES:,} bytes here", f"{len(content):,} bytes"))
    return read_json(content, model)


def read_json(content: bytes, model: type[Model]) -> Model:
    """Parse the JSON of a request.

    Raises:
        MalformedError: the content is not JSON.
        InvalidError: a field is missing, has the wrong shape, or is out of range.
    """
    return _validated(read_document(content), model)


def _validated(document: dict[str, Any], model: type[Model]) -> Model:
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from error


def _length(header: str, body_bytes: int) -> int:
    """The length of the JSON at the beginning of a body."""
    json_bytes = length(header)
    if json_bytes is None:
        raise MalformedError(FieldError(HEADER_LENGTH, "must be a number of bytes", shortened(header)))
    if json_bytes > body_bytes:
        message = f"is more than the body's {body_bytes:,} bytes"
        raise MalformedError(FieldError(HEADER_LENGTH, message, header))
    return json_bytes
