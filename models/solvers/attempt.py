"""The result of one attempted step of a batch. This module needs no torch, because NumPy solves use it too."""

from typing import Any, NamedTuple

Array = Any
"""A torch tensor or a NumPy array."""

STRETCH = 1.01
"""A step that would end before t1 by less than one per cent of its size goes to t1 instead, as in Hairer's DOPRI5. So
rounding leaves no tiny last step."""


def is_last(t: Array, h: Array, t1: float) -> Array:
    """Whether a step of size h from time t goes all the way to t1."""
    return h * STRETCH >= t1 - t


class Attempt(NamedTuple):
    """Every row after one attempt. A rejected row keeps its ``z``, ``k1`` and ``t``.

    Attributes:
        z: the state, ``[rows, ...]``.
        k1: for an FSAL method ``f(t, z)``, which is the first stage of the next attempt; for any other method the first
            stage of this attempt.
        t: the time, ``[rows]``.
        h: the size of the step to attempt next, ``[rows]``; 0 if the attempt of a fixed-step method was not finite.
        error: the local error estimate of this attempt, a root mean square in units of z, ``[rows]``; 0 for a
            fixed-step method. It is finite if and only if the attempt was finite.
        accepted: whether the attempt was accepted, bool ``[rows]``. An attempt that is not finite is never accepted.
    """

    z: Array
    k1: Array
    t: Array
    h: Array
    error: Array
    accepted: Array
