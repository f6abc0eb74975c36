"""Errors as answers: which status each has. In what form it is told is the protocol's matter."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from service.errors import (
    AbandonedError,
    BrokenModelError,
    DeadlineError,
    FieldError,
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
    UnsupportedMediaTypeError,
    field_errors,
)

STATUS = {
    MalformedError: HTTPStatus.BAD_REQUEST,
    UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    ForbiddenError: HTTPStatus.FORBIDDEN,
    UnknownModelError: HTTPStatus.NOT_FOUND,
    BrokenModelError: HTTPStatus.CONFLICT,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    OverloadedError: HTTPStatus.TOO_MANY_REQUESTS,
    RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    NotReadyError: HTTPStatus.SERVICE_UNAVAILABLE,
    StoppingError: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
}
CHALLENGES = ('Bearer realm="odenet"', 'Basic realm="odenet", charset="UTF-8"')
"""How to show an API key (RFC 9110, WWW-Authenticate), each in a header of its own: of several in one, Chromium sees
the first alone, and would not ask its user for a key."""

CLIENT_CLOSED_REQUEST = 499
"""What is logged and counted where the caller has left; nobody reads it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    Attributes:
        status: of the answer.
        detail: in a sentence.
        fields: what is wrong, where that can be told by fields.
        headers: of the answer.
        challenges: by which to authenticate oneself.
    """

    status: HTTPStatus
    detail: str
    fields: list[FieldError] = field(default_factory=list)
    headers: Mapping[str, str] | None = None
    challenges: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: RequestError) -> "Failure":
        """Why a request cannot be served."""
        headers = {"retry-after": str(error.retry_after)} if isinstance(error, OverloadedError) else None
        challenges = CHALLENGES if isinstance(error, UnauthenticatedError) else ()
        return cls(STATUS[type(error)], str(error), error.errors, headers, challenges)


Teller = Callable[[Failure], Response]
"""Puts a failure into a protocol's form."""


def install(
    app: FastAPI, tellers: Mapping[str, Teller], otherwise: Teller, on_refusal: Callable[[RequestError], object]
) -> Callable[[str, RequestError], Response]:
    """Let every error of the app be answered in the form of its protocol.

    Args:
        app: whose.
        tellers: of protocols, by the first part of their paths.
        otherwise: of all other paths.
        on_refusal: called with each error of a request.

    Returns:
        What makes the answer to a request to a path that ended in an error, for those who refuse it before the app.
    """

    def tell(path: str, failure: Failure) -> Response:
        answer = tellers.get(path.partition("/")[2].partition("/")[0], otherwise)(failure)
        for challenge in failure.challenges:
            answer.headers.append("www-authenticate", challenge)
        return answer

    def refuse(path: str, error: RequestError) -> Response:
        on_refusal(error)
        return tell(path, Failure.of(error))

    @app.exception_handler(RequestError)
    async def _(request: Request, error: RequestError) -> Response:
        return refuse(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def _(request: Request, error: RequestValidationError) -> Response:
        errors = [{**wrong, "loc": wrong["loc"][1:]} for wrong in error.errors()]  # less the word "query"
        return tell(request.url.path, Failure.of(InvalidError(*field_errors(errors))))

    @app.exception_handler(HTTPException)
    async def _(request: Request, error: HTTPException) -> Response:
        return tell(request.url.path, Failure(HTTPStatus(error.status_code), str(error.detail), headers=error.headers))

    @app.exception_handler(Exception)
    async def _(request: Request, _error: Exception) -> Response:
        logger.error("no answer to %s %s", request.method, request.url.path)  # the server logs the traceback
        detail = "The service failed to answer; its log says why."
        return tell(request.url.path, Failure(HTTPStatus.INTERNAL_SERVER_ERROR, detail))

    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(AbandonedError)
    async def _(_request: Request, _error: Exception) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    return refuse
