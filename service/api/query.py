"""The query of a request to predict."""

from collections import Counter
from collections.abc import Collection, Iterable
from functools import cached_property, lru_cache
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from models.solvers.settings import PLAIN_NUMBER
from service.engine.plan import MOST_TRACED, SolverFields
from service.engine.request import Priority
from service.errors import MOST_ERRORS, FieldError, InvalidError, invalid, shortened

LONGEST_CACHED = 256
"""The result of a query is cached if the query has at most this many bytes."""


class PredictFields(SolverFields):
    """The fields of a request in the query, or in a JSON body."""

    model: Annotated[
        str | None, Field(description="The model that answers.  Default: the default model of the service.")
    ] = None
    trace: Annotated[
        bool | None,
        Field(
            description="Whether to add to each prediction the image that the network saw, every attempted step, and "
            f"the logits along the depth. For at most {MOST_TRACED} images. The predictions stay the same. "
            "Default: false."
        ),
    ] = None

    @cached_property
    def solver(self) -> SolverFields:
        """Only the solver fields."""
        return SolverFields.model_construct(
            **self.model_dump(include=self.model_fields_set & SolverFields.model_fields.keys())
        )


class QueryFields(PredictFields):
    """The fields of the query."""

    priority: Annotated[
        Literal["high", "normal", "low"],
        Field(
            description="Decides which queued images start first. Only in the query, because it is used before the "
            "body is read."
        ),
    ] = "normal"
    count: Annotated[
        int | None,
        Field(
            ge=1,
            description="The number of images in the body; another number is refused. Only in the query. Raw bytes of "
            "several images need it, unless each image or its negative is in MNIST's form: the bytes could also be of "
            "another type, such as one image of 32-bit numbers.",
        ),
        PLAIN_NUMBER,
    ] = None

    @cached_property
    def level(self) -> Priority:
        """The priority, as the engine knows it."""
        return Priority[self.priority]


def read_query(query: bytes) -> QueryFields:
    """Read a query.

    Raises:
        InvalidError: a field is unknown, is out of range, or is given twice.
    """
    return _read_cached(query) if len(query) <= LONGEST_CACHED else _read(query)


def _read(query: bytes) -> QueryFields:
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    counts = Counter(name for name, _ in fields)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidError(*(_given_twice(name, fields) for name in repeated[:MOST_ERRORS]))
    check_known(counts, QueryFields.model_fields)
    try:
        return QueryFields.model_validate(dict(fields))
    except ValidationError as error:
        raise invalid(error) from error


def _given_twice(name: str, fields: list[tuple[str, str]]) -> FieldError:
    values = " and ".join([shortened(value) for given, value in fields if given == name][:2])
    return FieldError(shortened(name), "is given twice in the query", values)


_read_cached = lru_cache(maxsize=1024)(_read)


def check_known(given: Iterable[str], fields: Collection[str]) -> None:
    """Check that all given fields are known. We do this before we validate them: then many wrong fields cost no time.

    Raises:
        InvalidError: a field is unknown; the error lists the fields.
    """
    if unknown := [name for name in given if name not in fields]:
        message = f"is not a field; the fields are {', '.join(fields)}"
        raise InvalidError(*(FieldError(shortened(name), message) for name in unknown[:MOST_ERRORS]))
