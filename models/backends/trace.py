"""What a solve went through, step by step: told of the rows of a flight for which it is asked."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class Attempted(NamedTuple):
    """One attempted step.

    Attributes:
        t: from where.
        size: of the step.
        error: the local error estimate, a root mean square in units of z; 0 for a fixed-step method. Of the accepted
            ones the sum is the answer's error estimate.
        accepted: whether the row moved.
    """

    t: float
    size: float
    error: float
    accepted: bool


class Told(NamedTuple):
    """What the head makes of the state at a time.

    Attributes:
        t: the time.
        logits: ``[classes]``.
    """

    t: float
    logits: npt.NDArray[np.float32]


@dataclass
class Trace:
    """The solve of one row, from its beginning as far as it went.

    Attributes:
        attempts: in their order, at most `models.solvers.solve.MAX_STEPS`.
        depth: at t = 0 and after each accepted step; the last is what the answer was made of.
    """

    attempts: list[Attempted] = field(default_factory=list)
    depth: list[Told] = field(default_factory=list)
