"""The step-by-step record of a solve, for the rows of a flight for which a caller requests one."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class AttemptRecord(NamedTuple):
    """One attempted step.

    Attributes:
        t: the time before the step.
        size: the size of the step.
        error: the local error estimate, a root mean square in units of z; 0 for a fixed-step method. The sum over the
            accepted steps is the error estimate of the answer.
        accepted: whether the step was accepted.
    """

    t: float
    size: float
    error: float
    accepted: bool


class Reading(NamedTuple):
    """The state at one time, in short, and the logits that the head computes from it.

    Attributes:
        t: the time.
        logits: ``[classes]``.
        channels: the mean of each channel of the state over its positions, ``[channels]``.
    """

    t: float
    logits: npt.NDArray[np.float32]
    channels: npt.NDArray[np.float32]


@dataclass
class Trace:
    """The solve of one row from its beginning to its current time.

    Attributes:
        attempts: the attempted steps in order, at most `models.solvers.solve.MAX_STEPS`.
        depth: the readings at t = 0 and after each accepted step; the last reading holds the logits of the answer.
    """

    attempts: list[AttemptRecord] = field(default_factory=list)
    depth: list[Reading] = field(default_factory=list)
