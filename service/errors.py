"""What can be wrong with a request. Knows nothing of HTTP."""

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

MOST_ERRORS = 10
"""Errors of one request that are told."""

LONGEST_VALUE = 64
"""Characters of a wrong value that are repeated."""


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong.

    Attributes:
        field: where, the parts joined by dots.
        message: what, with the limit that is broken.
        value: what was given, where that can be said in short.
    """

    field: str
    message: str
    value: str | None = None


class RequestError(Exception):
    """A request that cannot be served, with the reasons.

    Args:
        errors: at least one.
    """

    def __init__(self, *errors: FieldError) -> None:
        super().__init__("; ".join(f"{error.field}: {error.message}" for error in errors))
        self.errors = list(errors)


class MalformedError(RequestError):
    """The body is not of the form that its media type promises, or a picture cannot be decoded."""


class UnknownModelError(RequestError):
    """No model has that name."""


class TooLargeError(RequestError):
    """The body, a picture or the list of images is larger than it may be."""


class UnsupportedMediaTypeError(RequestError):
    """The body is of a media type that is not taken."""


class UnauthenticatedError(RequestError):
    """The request shows no API key that is in force."""


class ForbiddenError(RequestError):
    """The service's settings, or the API key's scopes, do not allow that."""


class BrokenModelError(RequestError):
    """The version in the folder cannot be loaded; what was served still is."""


class StoppingError(RequestError):
    """The service stops before the answer is computed."""


class NotReadyError(RequestError):
    """The service is stopping, or cannot compute, or its default model is not loaded."""


class OverloadedError(RequestError):
    """The queue is full.

    Args:
        errors: at least one.
        retry_after: whole seconds after which to ask again.
    """

    def __init__(self, *errors: FieldError, retry_after: int) -> None:
        super().__init__(*errors)
        self.retry_after = retry_after


class RateLimitedError(OverloadedError):
    """The API key is used more often than it may be."""


class DeadlineError(RequestError):
    """There was no answer by the deadline of the request."""


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


class ComputationError(Exception):
    """A computation failed; the log says how."""


class InvalidError(RequestError):
    """A field has the wrong shape or type, is out of range, or does not go with another."""


def field_errors(errors: list[Any]) -> list[FieldError]:
    """Errors as pydantic lists them, as they are told."""
    return [
        FieldError(
            field=shortened(".".join(map(str, error["loc"]))) or "body",
            message=error["msg"].removeprefix("Value error, "),
            value=_shown(error.get("input")),
        )
        for error in errors[:MOST_ERRORS]
    ]


def shortened(text: str) -> str:
    """A text of the request, as far as an answer repeats it."""
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def invalid(error: ValidationError) -> InvalidError:
    """A validation error of pydantic as an error of the request."""
    return InvalidError(*field_errors(list(error.errors(include_url=False))))


def _shown(value: Any) -> str | None:
    """A wrong value in short; None for one that is itself made of fields."""
    return None if value is None or isinstance(value, dict | list | bytes) else shortened(str(value))
