"""Reads JSON documents from bodies, and checks which fields they have. All protocols use these functions."""

from collections.abc import Collection, Iterable
from typing import Any

from pydantic_core import from_json

from service.errors import MOST_ERRORS, FieldError, InvalidError, MalformedError, shortened

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_document(content: bytes, must_be: str = "an object") -> dict[str, Any]:
    """Parse the JSON object in a body. A byte order mark before the JSON is ignored (RFC 8259, section 8.1).

    Args:
        content: the body, in UTF-8.
        must_be: what the object is, for the error.

    Raises:
        MalformedError: the content is not JSON.
        InvalidError: the JSON is not an object.
    """
    try:
        document = from_json(content.removeprefix(BYTE_ORDER_MARK))
    except ValueError as error:
        raise MalformedError(FieldError("body", f"is not JSON: {error}")) from error
    if not isinstance(document, dict):
        raise InvalidError(FieldError("body", f"must be {must_be}"))
    return document


def check_known(given: Iterable[str], fields: Collection[str]) -> None:
    """Check that all given fields are known. We do this before we validate them: then many wrong fields cost no time.

    Raises:
        InvalidError: a field is unknown; the error lists the fields.
    """
    if unknown := [name for name in given if name not in fields]:
        message = f"is not a field; the fields are {', '.join(fields)}"
        raise InvalidError(*(FieldError(shortened(name), message) for name in unknown[:MOST_ERRORS]))
