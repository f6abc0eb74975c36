"""The solve: repeats a step until every row has reached the end, in torch or, through ONNX graphs, in NumPy.

Written against the Python array API standard, so that training, evaluation and serving share one loop. On torch it
is differentiable, where every attempt was finite: rows are gathered, never written in place.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol

from array_api_compat import device

from models.solvers.attempt import Array, Attempt
from models.solvers.namespace import array_namespace
from models.solvers.tableau import Tableau

MAX_STEPS = 1000
"""Attempts after which a row is given up."""

SMALLEST_STEP = 1e-6
"""An attempt that was not finite is repeated with a smaller step, down to this one."""


FIRST_STEP = 2.0
"""The first step at tolerance 1, in intervals, were there room for it. On digits a larger one costs rejections, and a
smaller one steps."""


class Outcome(IntEnum):
    """How the solve of a row ended."""

    converged = 0
    max_steps = 1
    non_finite = 2
    max_nfe = 3  # this and the next: only a `models.backends.flight.Flight` ends a solve so
    deadline = 4


class Stepper(Protocol):
    """One step of a method on some dynamics: `models.solvers.step.Step`, or the same exported as an ONNX graph."""

    tableau: Tableau
    t1: float

    def dynamics(self, t: Array, z: Array, /) -> Array:
        """Evaluate f at the times ``[rows]`` and states ``[rows, ...]``."""

    def __call__(self, z: Array, k1: Array, t: Array, h: Array, rtol: Array, atol: Array, /) -> Attempt:
        """Attempt one step."""


class Solution(NamedTuple):
    """The end of a solve, in the order of the rows that were given.

    Attributes:
        z: the state at t1 ``[rows, ...]``, or where the row was given up.
        steps: steps attempted, accepted or not, ``[rows]``.
        rejected: how many of them were rejected, ``[rows]``.
        nfe: evaluations of f spent on the row, ``[rows]``.
        error: the sum over accepted steps of the local error estimates, as a root mean square in units of z,
            ``[rows]``; 0 for a fixed-step method. It is no bound on the error of z: what an error becomes further
            along is not in it.
        outcome: an `Outcome` as an integer, ``[rows]``.
    """

    z: Array
    steps: Array
    rejected: Array
    nfe: Array
    error: Array
    outcome: Array


Observer = Callable[[Array, Array, Array, Attempt], None]
"""Called after each attempt with the rows' numbers, their times and step sizes before it, and what it made of them."""


def solve(
    step: Stepper,
    z: Array,
    *,
    rtol: Array | float = 1e-3,
    atol: Array | float = 1e-3,
    first_step: Array | float | None = None,
    t0: float = 0.0,
    max_steps: int = MAX_STEPS,
    observe: Observer | None = None,
) -> Solution:
    """Solve ``dz/dt = f(t, z)`` from t0 to the step's t1 for every row on its own.

    A row that has ended leaves the batch at once, so that nothing is computed for it while others go on.

    Args:
        step: the method applied to the dynamics.
        z: the states at t0, ``[rows, ...]``.
        rtol: relative tolerance, for all rows or ``[rows]``; a fixed-step method ignores it.
        atol: absolute tolerance, likewise.
        first_step: the first step to attempt, likewise; a fixed-step method keeps it, and must be given it. By
            default an adaptive method begins with that of `equal_steps`.
        t0: where the solve begins.
        max_steps: attempts after which a row is given up, at least 1.
        observe: called after each attempt.
    """
    xp = array_namespace(z)

    def per_row(value: Array | float) -> Array:
        return xp.astype(xp.zeros(z.shape[0], dtype=z.dtype, device=device(z)) + value, z.dtype)

    t, rtol, atol, error = (per_row(value) for value in (t0, rtol, atol, 0.0))
    h = per_row((step.t1 - t0) / equal_steps(step.tableau, rtol, atol) if first_step is None else first_step)
    rows = xp.arange(z.shape[0], device=device(z))
    rejected = xp.zeros_like(rows)
    k1 = step.dynamics(t, z) if step.tableau.fsal else z
    ended: list[tuple[Array, ...]] = []
    for attempts in range(1, max_steps + 1):
        tried = step(z, k1, t, h, rtol, atol)
        if observe is not None:
            observe(rows, t, h, tried)
        z, k1, t, h = tried.z, tried.k1, tried.t, tried.h
        accepted = tried.accepted
        rejected = rejected + xp.astype(~accepted, rejected.dtype)
        error = xp.where(accepted, error + tried.error, error)

        outcome = judge(tried, step.t1)
        leaving = (outcome != int(Outcome.max_steps)) | (attempts == max_steps)
        columns = (rows, z, xp.full_like(rows, attempts), rejected, error, outcome)
        if xp.all(leaving):
            ended.append(columns)
            break
        if not xp.any(leaving):
            continue
        ended.append(tuple(column[leaving] for column in columns))
        staying = (column[~leaving] for column in (z, k1, t, h, rtol, atol, rows, rejected, error))
        z, k1, t, h, rtol, atol, rows, rejected, error = staying
    rows, z, steps, rejected, error, outcome = (xp.concat(column) for column in zip(*ended, strict=True))
    order = xp.argsort(rows)
    nfe = step.tableau.evaluations(steps)
    return Solution(*(column[order] for column in (z, steps, rejected, nfe, error, outcome)))


def equal_steps(tableau: Tableau, rtol: Array, atol: Array) -> Array:
    """How many equal steps a solve may be expected to take, ``[rows]``; the first step is one of them.

    The local error of an adaptive method goes with a power of the step, so the step goes with a root of the
    tolerance. A step that takes in the whole interval whatever the tolerance is mostly rejected, or worse,
    accepted where the estimate of its error is too hopeful.

    Args:
        tableau: an adaptive method.
        rtol: relative tolerance, ``[rows]``.
        atol: absolute tolerance, ``[rows]``.
    """
    xp = array_namespace(rtol)
    step = FIRST_STEP * ((rtol + atol) / 2) ** (1 / tableau.error_exponent)
    return xp.clip(xp.round(1 / step), 1, None)


def judge(tried: Attempt, t1: float) -> Array:
    """The `Outcome` of each row if it were left as it is after an attempt, ``[rows]``.

    A row goes on for as long as that is `Outcome.max_steps`. An attempt that was not finite is no failure while a
    smaller one can be tried.
    """
    xp = array_namespace(tried.t)
    failed = ~xp.isfinite(tried.error) & (tried.h < SMALLEST_STEP)
    reached = xp.where(tried.t >= t1, int(Outcome.converged), int(Outcome.max_steps))
    return xp.where(failed, int(Outcome.non_finite), reached)
