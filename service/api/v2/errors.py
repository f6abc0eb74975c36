"""Formats failures in the form of the protocol."""

from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from service.api.error_examples import ERROR_EXAMPLES
from service.api.errors import STATUS, Failure
from service.api.problems import described
from service.errors import FieldError, RequestError, UnsupportedMediaTypeError, sentences

Answers = dict[int | str, dict[str, Any]]

EXAMPLES: dict[type[RequestError], RequestError] = ERROR_EXAMPLES | {
    UnsupportedMediaTypeError: UnsupportedMediaTypeError(
        FieldError("content-encoding", "must be one of gzip, deflate, identity", "br")
    )
}
"""The examples by the class of the error. These routes ignore the media type, and refuse only unknown encodings."""


class ErrorAnswer(BaseModel):
    """Why there is no answer."""

    error: str = Field(description="The problem, with the limit and the value.")
    id: str | None = Field(default=None, description="The id of the request, if the request gives one.")


ANY: Answers = {"default": {"description": "Any error, as a sentence.", "model": ErrorAnswer}}
"""The answers that every route may give, for OpenAPI."""


def documented(*errors: type[RequestError]) -> Answers:
    """The answers to these errors, for the OpenAPI document of a route."""
    return ANY | {
        int(STATUS[error]): {
            "description": described(error),
            "model": ErrorAnswer,
            "content": {"application/json": {"example": {"error": sentences(EXAMPLES[error].errors[:1])}}},
        }
        for error in errors
    }


def error_response(failure: Failure) -> Response:
    """Format a failure as a JSON object with a field called ``error``."""
    detail = sentences(failure.fields) or failure.detail
    content = ErrorAnswer(error=detail, id=failure.document_id).model_dump_json(exclude_none=True)
    return Response(content, failure.status, failure.headers, media_type="application/json")
