"""Turns errors into answers and gives each error its HTTP status. Each protocol formats the answer in its own way."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from service.api.exchange import DOCUMENT_ID
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
"""The ways to send an API key (RFC 9110, WWW-Authenticate). Each gets a header of its own: in a header with several,
Chromium sees only the first one and would not ask its user for a key."""

CLIENT_CLOSED_REQUEST = 499
"""The status that is logged and counted when the caller has disconnected. Nobody reads the answer."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why there is no answer.

    Attributes:
        status: the status of the answer.
        detail: the reason, as a sentence.
        fields: the fields that are wrong, if the reason lies in fields.
        headers: the headers of the answer.
        challenges: the ways to authenticate, if the request did not.
        document_id: the id in the JSON of the request; None if it has none, or was not read.
    """

    status: HTTPStatus
    detail: str
    fields: list[FieldError] = field(default_factory=list)
    headers: Mapping[str, str] | None = None
    challenges: tuple[str, ...] = ()
    document_id: str | None = None

    @classmethod
    def of(cls, error: RequestError) -> "Failure":
        """The failure for an error of a request."""
        headers = {"retry-after": str(error.retry_after)} if isinstance(error, OverloadedError) else None
        challenges = CHALLENGES if isinstance(error, UnauthenticatedError) else ()
        return cls(STATUS[type(error)], str(error), error.errors, headers, challenges)


FailureFormatter = Callable[[Failure], Response]
"""Formats a failure as the answer of a protocol."""


class ErrorAnswers:
    """Answers every error in the form of the protocol that the request used.

    Args:
        formatters: the formatters of the protocols, by the first part of their paths.
        default: the formatter for all other paths.
        on_refusal: called with each error of a request.
    """

    def __init__(
        self,
        formatters: Mapping[str, FailureFormatter],
        default: FailureFormatter,
        on_refusal: Callable[[RequestError], object],
    ) -> None:
        self._formatters = formatters
        self._default = default
        self._on_refusal = on_refusal

    def install(self, app: FastAPI) -> None:
        """Make an app answer its errors in this way."""

        async def handle(request: Request, error: Exception) -> Response:
            return self.answer(request.scope, error)

        for kind in (RequestError, RequestValidationError, HTTPException, ClientDisconnect, AbandonedError, Exception):
            app.add_exception_handler(kind, handle)

    def answer(self, scope: Scope, error: Exception) -> Response:
        """The answer to an error, which is counted if it refuses the request."""
        if isinstance(error, ClientDisconnect | AbandonedError):
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        if isinstance(error, RequestError):
            self._on_refusal(error)
        failure = replace(_failure(scope, error), document_id=scope.get(DOCUMENT_ID))
        answer = self._formatters.get(scope["path"].partition("/")[2].partition("/")[0], self._default)(failure)
        for challenge in failure.challenges:
            answer.headers.append("www-authenticate", challenge)
        return answer


def is_expected(error: Exception) -> bool:
    """Whether an error is the caller's, or describes a state of the service. Any other error is a fault."""
    return isinstance(error, RequestError | HTTPException | ClientDisconnect | AbandonedError)


def _failure(scope: Scope, error: Exception) -> Failure:
    match error:
        case RequestError():
            return Failure.of(error)
        case RequestValidationError():
            errors = [{**wrong, "loc": wrong["loc"][1:]} for wrong in error.errors()]  # without the word "query"
            return Failure.of(InvalidError(*field_errors(errors)))
        case HTTPException():
            headers = dict(error.headers or {})
            if "Allow" in headers:
                headers["Allow"] = _with_head(headers["Allow"])
            detail = f"{error.detail}{_hint(error.status_code, headers)}"
            return Failure(HTTPStatus(error.status_code), detail, headers=headers)
    path = scope["raw_path"].decode("latin-1")  # still percent-encoded, so that it is one line
    logger.error("no answer to %s %s", scope["method"], path)  # the server logs the traceback
    return Failure(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed to answer; its log says why.")


def _with_head(allow: str) -> str:
    """The methods of a path, with HEAD if the path answers GET, because the gateway answers both."""
    methods = {*allow.split(", ")}
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


def _hint(status: int, headers: Mapping[str, str]) -> str:
    """What a caller of a wrong path or method can do."""
    match status:
        case HTTPStatus.NOT_FOUND:
            return ": no route has this path; the page /docs lists the routes"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f": this path takes {headers.get('Allow')}"
    return ""
