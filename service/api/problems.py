"""Formats failures as problem details (RFC 9457)."""

from dataclasses import asdict
from typing import Any

from fastapi import Response
from pydantic import BaseModel, Field

from service.api.error_examples import ERROR_EXAMPLES
from service.api.errors import STATUS, Failure
from service.errors import RequestError

MEDIA_TYPE = "application/problem+json"


class ProblemField(BaseModel):
    """One thing that is wrong."""

    field: str = Field(description="The path to the field, joined by dots.", examples=["tolerance"])
    message: str = Field(
        description="The problem, with the limit.", examples=["Input should be less than or equal to 10"]
    )
    value: str | None = Field(default=None, description="The given value, shortened.", examples=["1000"])


class Problem(BaseModel):
    """Problem details for HTTP APIs (RFC 9457)."""

    title: str = Field(description="The status in words.", examples=["Unprocessable Entity"])
    status: int = Field(description="The status code.", examples=[422])
    detail: str = Field(
        description="The problem, as a sentence.", examples=["tolerance: Input should be less than or equal to 10"]
    )
    errors: list[ProblemField] = Field(default=[], description="The wrong fields, at most ten.")


Answers = dict[int | str, dict[str, Any]]
CONTENT = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
ANY: Answers = {"default": {"description": "Any error, as problem details.", "content": CONTENT}}
"""The answers that every route may give, for OpenAPI."""


def documented(*errors: type[RequestError]) -> Answers:
    """The answers to these errors, for the OpenAPI document of a route."""
    return {
        int(STATUS[error]): {"description": described(error), "content": _content(problem(Failure.of(example)))}
        for error in errors
        for example in (ERROR_EXAMPLES[error],)
    }


def described(error: type[RequestError]) -> str:
    """The description of an error for callers: the first sentence of the docstring of its class."""
    return (error.__doc__ or "").partition("\n")[0]


def problem_response(failure: Failure) -> Response:
    """Format a failure as problem details."""
    return Response(problem(failure).model_dump_json(), failure.status, failure.headers, media_type=MEDIA_TYPE)


def problem(failure: Failure) -> Problem:
    """The problem details of a failure."""
    return Problem(
        title=failure.status.phrase,
        status=failure.status,
        detail=failure.detail,
        errors=[ProblemField(**asdict(error)) for error in failure.fields],
    )


def _content(example: Problem) -> dict[str, Any]:
    """The content of an answer, with an example."""
    return {media: {**content, "example": example.model_dump(mode="json")} for media, content in CONTENT.items()}
