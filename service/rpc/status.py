"""Gives each error its gRPC status. The words are those of REST."""

import asyncio
from typing import NamedTuple

from grpc import StatusCode

from service.errors import (
    BrokenModelError,
    DeadlineError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    NotReadyError,
    OverloadedError,
    RateLimitedError,
    RequestError,
    StoppingError,
    TooLargeError,
    UnauthenticatedError,
    UnknownModelError,
    sentences,
)

CODES: dict[type[RequestError], StatusCode] = {
    MalformedError: StatusCode.INVALID_ARGUMENT,
    InvalidError: StatusCode.INVALID_ARGUMENT,
    TooLargeError: StatusCode.INVALID_ARGUMENT,
    UnauthenticatedError: StatusCode.UNAUTHENTICATED,
    ForbiddenError: StatusCode.PERMISSION_DENIED,
    UnknownModelError: StatusCode.NOT_FOUND,
    BrokenModelError: StatusCode.FAILED_PRECONDITION,
    OverloadedError: StatusCode.RESOURCE_EXHAUSTED,
    RateLimitedError: StatusCode.RESOURCE_EXHAUSTED,
    NotReadyError: StatusCode.UNAVAILABLE,
    StoppingError: StatusCode.UNAVAILABLE,
    DeadlineError: StatusCode.DEADLINE_EXCEEDED,
}


class Status(NamedTuple):
    """The end of a call.

    Attributes:
        code: the status code.
        detail: the reason, as a sentence; empty for success.
        retry_after: whole seconds after which to retry; None if to retry would not help, or the time is not known.
    """

    code: StatusCode
    detail: str = ""
    retry_after: int | None = None

    @classmethod
    def of(cls, error: RequestError) -> "Status":
        """The status for an error of a request."""
        retry_after = error.retry_after if isinstance(error, OverloadedError) else None
        return cls(CODES[type(error)], sentences(error.errors), retry_after)


OK = Status(StatusCode.OK)
FAULT = Status(StatusCode.INTERNAL, "The service failed to answer; its log says why.")


class CallError(Exception):
    """A call ends with this status instead of an answer."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.detail)
        self.status = status


def is_cancelled() -> bool:
    """Whether somebody has cancelled the current task: gRPC, for a caller who has gone or whose deadline has passed.

    The data plane turns a cancellation into an error of its own, so the error does not tell.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
