"""What one attempted step makes of a batch of rows. Free of torch, as every array library has steps."""

from typing import Any, NamedTuple

Array = Any
"""A torch tensor or a NumPy array."""

STRETCH = 1.01
"""A step that would stop short of the end by less than one per cent of itself goes all the way (as in Hairer's DOPRI5);
so no sliver of a step is left over by rounding."""


def is_last(t: Array, h: Array, t1: float) -> Array:
    """Whether a step of size h from time t goes all the way to t1, whatever its size."""
    return h * STRETCH >= t1 - t


class Attempt(NamedTuple):
    """What one attempt made of each row; a rejected row keeps its ``z``, ``k1`` and ``t``.

    Attributes:
        z: the state, ``[rows, ...]``.
        k1: for an FSAL method ``f(t, z)``, ready for the next attempt; for any other the first stage of this one.
        t: the time reached, ``[rows]``.
        h: the step to attempt next, ``[rows]``; 0 where a fixed-step method's attempt was not finite.
        error: the local error estimate of this attempt, a root mean square in units of z, ``[rows]``; 0 for a
            fixed-step method. It is finite exactly where the attempt was.
        accepted: whether the row moved, ``[rows]`` of bool; an attempt that was not finite is never accepted.
    """

    z: Array
    k1: Array
    t: Array
    h: Array
    error: Array
    accepted: Array
