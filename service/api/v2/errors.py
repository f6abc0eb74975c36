"""Failures as the protocol tells them."""

from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from service.api.errors import STATUS, Failure
from service.api.problems import described
from service.errors import FieldError, RequestError

Answers = dict[int | str, dict[str, Any]]


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="What is wrong, with the limit and the value.")


ANY: Answers = {"default": {"description": "Whatever is wrong is told in a sentence.", "model": ErrorAnswer}}
"""What every route may answer, for OpenAPI."""


def documented(*errors: type[RequestError]) -> Answers:
    """The answers to these errors, for a route's OpenAPI."""
    return ANY | {int(STATUS[error]): {"description": described(error), "model": ErrorAnswer} for error in errors}


def tell(failure: Failure) -> Response:
    """A failure as an object with the field error."""
    detail = "; ".join(map(_sentence, failure.fields)) or failure.detail
    content = ErrorAnswer(error=detail).model_dump_json()
    return Response(content, failure.status, failure.headers, media_type="application/json")


def _sentence(error: FieldError) -> str:
    told = f"{error.field}: {error.message}"
    return told if error.value is None else f"{told}; it is {error.value}"
