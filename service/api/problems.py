"""Errors as answers: problem details, RFC 9457."""

import logging
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from service.errors import (
    DeadlineError,
    FieldError,
    InvalidError,
    MalformedError,
    OverloadedError,
    RequestError,
    StoppingError,
    TooLargeError,
    UnknownModelError,
    UnsupportedMediaTypeError,
    field_errors,
)

MEDIA_TYPE = "application/problem+json"
STATUS = {
    MalformedError: HTTPStatus.BAD_REQUEST,
    UnknownModelError: HTTPStatus.NOT_FOUND,
    TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    UnsupportedMediaTypeError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    OverloadedError: HTTPStatus.TOO_MANY_REQUESTS,
    StoppingError: HTTPStatus.SERVICE_UNAVAILABLE,
    DeadlineError: HTTPStatus.GATEWAY_TIMEOUT,
}

logger = logging.getLogger(__name__)


class ProblemField(BaseModel):
    """One thing that is wrong."""

    field: str = Field(description="Where: the parts of a field's place, joined by dots.", examples=["tolerance"])
    message: str = Field(description="What, with the limit.", examples=["Input should be less than or equal to 10"])
    value: str | None = Field(default=None, description="What was given, in short.", examples=["1000"])


class Problem(BaseModel):
    """Problem details for HTTP APIs (RFC 9457)."""

    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(description="The status code.", examples=[422])
    detail: str = Field(
        description="What is wrong, in a sentence.", examples=["tolerance: Input should be less than or equal to 10"]
    )
    errors: list[ProblemField] = Field(default=[], description="Each thing that is wrong; ten at most.")


Answers = dict[int | str, dict[str, Any]]
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
ANY: Answers = {"default": {"description": "Whatever is wrong is told as problem details.", "content": CONTENT}}
"""What every route may answer, for OpenAPI."""


def documented(*errors: type[RequestError]) -> Answers:
    """The answers to these errors, for a route's OpenAPI."""
    return {int(STATUS[error]): {"description": error.__doc__, "content": CONTENT} for error in errors}


def install(app: FastAPI) -> None:
    """Let every error of the app be answered by problem details."""

    @app.exception_handler(RequestError)
    async def _(_request: Request, error: RequestError) -> Response:
        return answer(error)

    @app.exception_handler(RequestValidationError)
    async def _(_request: Request, error: RequestValidationError) -> Response:
        errors = [{**wrong, "loc": wrong["loc"][1:]} for wrong in error.errors()]  # less the word "query"
        invalid = InvalidError(*field_errors(errors))
        return _answer(STATUS[InvalidError], str(invalid), invalid.errors)

    @app.exception_handler(HTTPException)
    async def _(_request: Request, error: HTTPException) -> Response:
        return _answer(HTTPStatus(error.status_code), str(error.detail), headers=error.headers)

    @app.exception_handler(Exception)
    async def _(request: Request, _error: Exception) -> Response:
        logger.error("no answer to %s %s", request.method, request.url.path)  # the server logs the traceback
        return _answer(HTTPStatus.INTERNAL_SERVER_ERROR, "The service failed to answer; its log says why.")


def answer(error: RequestError) -> Response:
    """The answer to a request that cannot be served."""
    headers = {"retry-after": str(error.retry_after)} if isinstance(error, OverloadedError) else None
    return _answer(STATUS[type(error)], str(error), error.errors, headers)


def _answer(status: HTTPStatus, detail: str, errors: list[FieldError] | None = None, headers: Any = None) -> Response:
    fields = [ProblemField(**asdict(error)) for error in errors or []]
    problem = Problem(title=status.phrase, status=status, detail=detail, errors=fields)
    return Response(problem.model_dump_json(), status, headers, media_type=MEDIA_TYPE)
