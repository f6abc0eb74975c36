"""The errors of requests. This module knows nothing about HTTP."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

MOST_ERRORS = 10
"""The greatest number of errors that the answer to one request reports."""

LONGEST_VALUE = 64
"""The greatest number of characters of a wrong value that the answer repeats."""


@dataclass(frozen=True)
class FieldError:
    """An error of one field.

    Attributes:
        field: the path to the field, joined by dots.
        message: the problem, with the limit.
        value: the given value, shortened; None if it has no short form.
    """

    field: str
    message: str
    value: str | None = None


class RequestError(Exception):
    """A request cannot be served.

    Args:
        errors: the reasons, at least one.
    """

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = list(errors)


class MalformedError(RequestError):
    """The body does not match its media type, or a picture cannot be decoded."""


class UnknownModelError(RequestError):
    """No model with this name and version is served."""


class TooLargeError(RequestError):
    """The body, a picture or the list of images is larger than its limit."""


class UnsupportedMediaTypeError(RequestError):
    """The media type or the encoding of the body is not supported."""


class UnauthenticatedError(RequestError):
    """The request has no valid API key."""


class ForbiddenError(RequestError):
    """The settings of the service or the scopes of the API key do not allow the request."""


class BrokenModelError(RequestError):
    """The version in the folder cannot be loaded; the previous version is still served."""


class StoppingError(RequestError):
    """The service stopped before the answer was computed."""


class NotReadyError(RequestError):
    """The service is stopping, or cannot compute, or its default model is not loaded."""


class OverloadedError(RequestError):
    """Other work would delay the request too long, or has delayed it too long.

    Args:
        errors: the reasons, at least one.
        retry_after: whole seconds after which to retry.
    """

    def __init__(self, *errors: FieldError, retry_after: int) -> None:
        super().__init__(*errors)
        self.retry_after = retry_after


class RateLimitedError(OverloadedError):
    """The API key is used more often than its limit allows."""


class DeadlineError(RequestError):
    """The deadline of the request passed before the answer."""


class AbandonedError(Exception):
    """The caller disconnected before the answer."""


class ComputationError(Exception):
    """A computation failed; the log has the reason."""


class InvalidError(RequestError):
    """A field has the wrong shape or type, is out of range, or does not fit another field."""


def field_errors(errors: list[Any]) -> list[FieldError]:
    """Convert pydantic's errors, at most `MOST_ERRORS`."""
    return [
        FieldError(
            field=shortened(".".join(map(str, error["loc"]))) or "body",
            message=error["msg"].removeprefix("Value error, "),
            value=_short_value(error.get("input")),
        )
        for error in errors[:MOST_ERRORS]
    ]


def sentences(errors: Iterable[FieldError]) -> str:
    """The errors as one text, with the field, the limit and the value of each."""
    return "; ".join(
        f"{error.field}: {error.message}" + ("" if error.value is None else f"; it is {error.value}")
        for error in errors
    )


def as_sent(value: Any) -> str:
    """A value of a request as a short text, as the request writes it: a boolean is true or false."""
    return shortened(str(value).lower() if isinstance(value, bool) else str(value))


def shortened(text: str) -> str:
    """A text of the request, cut to the length that an answer repeats."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def invalid(error: ValidationError) -> InvalidError:
    """Convert a validation error of pydantic to an error of the request."""
    return InvalidError(*field_errors(list(error.errors(include_url=False))))


def _short_value(value: Any) -> str | None:
    """A wrong value as a short text; None for a list, an object or bytes, which have no short form."""
    return None if value is None or isinstance(value, dict | list | bytes) else as_sent(value)
