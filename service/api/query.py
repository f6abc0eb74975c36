"""The query of a request to predict."""

from collections import Counter
from functools import cached_property, lru_cache
from typing import Annotated, Literal
from urllib.parse import parse_qsl

from pydantic import Field, ValidationError

from service.engine.plan import MOST_TRACED, SolverFields
from service.errors import MOST_ERRORS, FieldError, InvalidError, invalid, shortened

LONGEST_KEPT = 256
"""Bytes of a query that is kept to be read but once."""


class PredictFields(SolverFields):
    """What may stand in the query, or in the body if that is JSON."""

    model: Annotated[str | None, Field(description="The model to ask.  Default: the service's.")] = None
    trace: Annotated[
        bool,
        Field(
            description="Whether to tell, for each image, what the network saw and what its solve went through: every "
            f"attempted step, and the logits along the depth. For at most {MOST_TRACED} images; the answer is the same."
        ),
    ] = False

    @cached_property
    def solver(self) -> SolverFields:
        """The solver fields alone."""
        return SolverFields.model_construct(
            **self.model_dump(include=self.model_fields_set & SolverFields.model_fields.keys())
        )


class QueryFields(PredictFields):
    """What the query may say."""

    priority: Annotated[
        Literal["high", "normal", "low"],
        Field(description="Whose images are begun first. Only in the query: it counts before the body is read."),
    ] = "normal"


def read_query(query: bytes) -> QueryFields:
    """Read a query.

    Raises:
        InvalidError: a field is unknown, out of range or given twice.
    """
    return _kept(query) if len(query) <= LONGEST_KEPT else _read(query)


def _read(query: bytes) -> QueryFields:
    told = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    counts = Counter(name for name, _ in told)
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidError(
            *(FieldError(shortened(name), "is given twice in the query") for name in repeated[:MOST_ERRORS])
        )
    try:
        return QueryFields.model_validate(dict(told))
    except ValidationError as error:
        raise invalid(error) from error


_kept = lru_cache(maxsize=1024)(_read)
