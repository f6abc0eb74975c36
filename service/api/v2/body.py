"""Reads the body of a request: decompresses it, splits it into JSON and binary tensors, and parses the JSON."""

import zlib
from collections.abc import Callable
from typing import NamedTuple

from fastapi import Request

from service.api.documents import read_document
from service.api.lengths import length
from service.errors import FieldError, MalformedError, TooLargeError, UnsupportedMediaTypeError, shortened
from service.open_inference.request import InferRequest, Model, validated

HEADER_LENGTH = "inference-header-content-length"

MOST_SHORT_BYTES = 2**16
"""The greatest number of bytes of JSON without images. The event loop parses it."""


class InferBody(NamedTuple):
    """The body of a request for inference.

    Attributes:
        request: the JSON; None for a body that holds only the bytes of its one input.
        binary: the bytes after the JSON.
    """

    request: InferRequest | None
    binary: memoryview


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
    return InferBody(validated(document, InferRequest), body[head:])


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
    return validated(read_document(content), model)


def _length(header: str, body_bytes: int) -> int:
    """The length of the JSON at the beginning of a body."""
    json_bytes = length(header)
    if json_bytes is None:
        raise MalformedError(FieldError(HEADER_LENGTH, "must be a number of bytes", shortened(header)))
    if json_bytes > body_bytes:
        message = f"is more than the body's {body_bytes:,} bytes"
        raise MalformedError(FieldError(HEADER_LENGTH, message, header))
    return json_bytes
