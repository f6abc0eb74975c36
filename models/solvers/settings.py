"""The solver settings that a caller may choose, and their limits."""

import re
from typing import Annotated, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from models.solvers.methods import METHODS
from models.solvers.solve import equal_steps

SMALLEST_TOLERANCE = 1e-6
"""At a smaller tolerance, the rounding errors of float32 are as large as the local errors."""

LARGEST_TOLERANCE = 10.0
"""At this tolerance every method solves a digit in one accepted step."""

MOST_STEPS = 100
"""The greatest number of steps of a fixed-step method."""


NOT_IN_NUMBERS = re.compile(r"[_\s]")
"""What pydantic ignores in the text of a number: underscores, and spaces around the number."""


def _refuse_other_values(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, and a boolean is no number")  # noqa: TRY004 (pydantic expects a ValueError)
    if isinstance(value, str) and NOT_IN_NUMBERS.search(value):
        raise ValueError("must be a number without underscores and spaces")
    return value


PLAIN_NUMBER = BeforeValidator(_refuse_other_values)
"""Refuses a boolean where a number is expected, and a text with underscores or spaces. Without it, pydantic would take
true for 1, and "1_0" for 10."""

Tolerance = Annotated[float, Field(ge=SMALLEST_TOLERANCE, le=LARGEST_TOLERANCE, allow_inf_nan=False), PLAIN_NUMBER]
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS), PLAIN_NUMBER]


class SolveArguments(NamedTuple):
    """The arguments of `models.solvers.solve.solve` on [0, 1] that depend on the solver setting.

    Attributes:
        first_step: the size of the first step; a fixed-step method uses it for every step.
        rtol: relative tolerance; 0 for a fixed-step method, which ignores it.
        atol: absolute tolerance; 0 for a fixed-step method, which ignores it.
    """

    first_step: float
    rtol: float
    atol: float


class SolverSettings(BaseModel):
    """One method with its tolerances, or with its number of steps.

    Attributes:
        method: the name of a method.
        rtol: relative tolerance; None for a fixed-step method.
        atol: absolute tolerance; None for a fixed-step method.
        steps: the number of equal steps of a fixed-step method; None for an adaptive method.

    Raises:
        ValidationError: the method is unknown, or a field is missing, out of range or does not apply to this method.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    rtol: Tolerance | None = None
    atol: Tolerance | None = None
    steps: Steps | None = None

    @model_validator(mode="after")
    def _fits_the_method(self) -> Self:
        if self.method not in METHODS:
            raise ValueError(f"method: no method is called {self.method!r}; the methods are {', '.join(METHODS)}")
        has_tolerance = self.rtol is not None, self.atol is not None
        if METHODS[self.method].adaptive and (has_tolerance != (True, True) or self.steps is not None):
            raise ValueError(f"{self.method} is adaptive: it takes rtol and atol, and no steps")
        if not METHODS[self.method].adaptive and (any(has_tolerance) or self.steps is None):
            raise ValueError(f"{self.method} takes a fixed number of steps, and no tolerance")
        return self

    @classmethod
    def adaptive(cls, method: str, tolerance: float) -> Self:
        """The setting of an adaptive method with the same rtol and atol."""
        return cls(method=method, rtol=tolerance, atol=tolerance)

    @property
    def arguments(self) -> SolveArguments:
        """The arguments of a solve on [0, 1]."""
        if self.rtol is None or self.atol is None:
            return SolveArguments(1 / (self.steps or 1), 0.0, 0.0)
        rtol, atol = np.array([[self.rtol], [self.atol]], np.float32)
        (steps,) = equal_steps(METHODS[self.method], rtol, atol).tolist()
        return SolveArguments(1 / steps, self.rtol, self.atol)

    def __str__(self) -> str:
        if self.steps is not None:
            return f"{self.method}, {self.steps} step{'s' if self.steps > 1 else ''}"
        if self.rtol == self.atol:
            return f"{self.method} at {self.rtol:g}"
        return f"{self.method} at rtol {self.rtol:g}, atol {self.atol:g}"
