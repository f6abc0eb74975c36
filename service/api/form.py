"""Splits a body of the type multipart/form-data into its parts (RFC 7578)."""

from typing import NamedTuple

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError, ParseError
from python_multipart.multipart import parse_options_header

from service.errors import FieldError, MalformedError, TooLargeError, shortened

LONGEST_HEADER = 1024
"""The greatest number of bytes of a header of a part. The names of files have at most 255 bytes."""

MOST_HEADERS = 8
"""The greatest number of headers of a part."""


class FormPart(NamedTuple):
    """A part of a form.

    Attributes:
        name: the name of the field.
        media_type: the header Content-Type; empty if the part does not have it.
        content: the content.
        is_file: whether the part has a file name.
    """

    name: str
    media_type: str
    content: bytes
    is_file: bool


def split(body: bytes, content_type: str, most: int) -> list[FormPart]:
    """Split a form into its parts.

    The parser holds Python's lock. It takes 20 µs for a part, and up to 0.15 µs for a byte of a header. Without limits,
    8 MiB of small parts would take seconds. So we stop at the first part that is too many, and limit the headers.

    Names are in UTF-8, whatever charset the form declares: with some charsets, the time to decode a name grows with the
    square of its length.

    Args:
        body: the body.
        content_type: the header Content-Type, which holds the boundary.
        most: the greatest number of parts.

    Raises:
        MalformedError: there is no boundary, a part has no name, or the body is not a whole form.
        TooLargeError: there are too many parts.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise MalformedError(FieldError("content-type", "a form needs a boundary", shortened(content_type)))
    collector = _Collector(most)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.on_part_begin,
                "on_header_field": collector.on_header_field,
                "on_header_value": collector.on_header_value,
                "on_header_end": collector.on_header_end,
                "on_part_data": collector.on_part_data,
                "on_part_end": collector.on_part_end,
                "on_end": collector.on_end,
            },
            max_header_count=MOST_HEADERS,
            max_header_size=LONGEST_HEADER,
        )
        parser.write(body)
    except FormParserError as error:
        raise MalformedError(_not_a_form(error, body)) from error
    if not collector.is_whole:
        raise MalformedError(FieldError("body", "is not a whole form: it ends before its last boundary"))
    return collector.parts


def _not_a_form(error: FormParserError, body: bytes) -> FieldError:
    """The error for a body that the parser refuses. The messages of the parser do not name our limits."""
    message, value = str(error), None
    if isinstance(error, ParseError) and message == "Maximum header size exceeded":
        begin, end = body.rfind(b"\n", 0, error.offset) + 1, body.find(b"\r", error.offset)
        message = f"the size of a header of a part is at most {LONGEST_HEADER:,} bytes"
        value = f"{(len(body) if end == -1 else end) - begin:,} bytes"
    elif message == "Maximum header count exceeded":
        message, value = f"a part has at most {MOST_HEADERS} headers", f"at least {MOST_HEADERS + 1}"
    return FieldError("body", f"is not a form: {message}", value)


class _Collector:
    """Collects the parts of a form from the calls of the parser.

    Args:
        most: the greatest number of parts.

    Attributes:
        parts: the parts that are complete.
        is_whole: whether the last boundary was found.
    """

    def __init__(self, most: int) -> None:
        self.parts: list[FormPart] = []
        self.is_whole = False
        self._most = most
        self._headers: dict[bytes, str] = {}
        self._name, self._value, self._content = bytearray(), bytearray(), bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._most:
            message, value = f"at most {self._most:,} in a request", f"at least {self._most + 1:,}"
            raise TooLargeError(FieldError("images", message, value))
        self._headers.clear()
        self._content.clear()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self._headers.setdefault(bytes(self._name).lower(), self._value.decode("latin-1"))
        self._name.clear()
        self._value.clear()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._content += data[start:end]

    def on_part_end(self) -> None:
        options = parse_options_header(self._headers.get(b"content-disposition"))[1]
        if b"name" not in options:
            raise MalformedError(
                FieldError(f"body.{len(self.parts)}", "needs a name in its header Content-Disposition")
            )
        name, media_type = options[b"name"].decode("utf-8", "replace"), self._headers.get(b"content-type", "")
        self.parts.append(FormPart(name, media_type, bytes(self._content), b"filename" in options))

    def on_end(self) -> None:
        self.is_whole = True
