"""The solve loop: it repeats a step until every row has reached the end, in torch or, with ONNX graphs, in NumPy.

The loop uses the Python array API standard, so training, evaluation and serving share it. In torch it is differentiable
if every attempt was finite, because it gathers rows and never writes them in place.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol

from array_api_compat import device

from models.solvers.attempt import Array, Attempt
from models.solvers.namespace import array_namespace
from models.solvers.tableau import Tableau

MAX_STEPS = 1000
"""The number of attempts after which a row is given up."""

SMALLEST_STEP = 1e-6
"""An attempt that was not finite is repeated with a smaller step, but not below this size."""


FIRST_STEP = 2.0
"""The size of the first step at tolerance 1, before it is limited to the interval. On digits, a larger value costs
rejected steps, and a smaller value costs additional steps."""


class Outcome(IntEnum):
    """How the solve of a row ended."""

    converged = 0
    max_steps = 1
    non_finite = 2
    max_nfe = 3  # only `models.backends.flight.Flight` uses this outcome
    deadline = 4  # only `models.backends.flight.Flight` uses this outcome


class Stepper(Protocol):
    """One step of a method applied to dynamics: `models.solvers.step.Step`, or its export as an ONNX graph."""

    tableau: Tableau
    t1: float

    def dynamics(self, t: Array, z: Array, /) -> Array:
        """Evaluate f at the times ``[rows]`` and states ``[rows, ...]``."""

    def __call__(self, z: Array, k1: Array, t: Array, h: Array, rtol: Array, atol: Array, /) -> Attempt:
        """Attempt one step. See `models.solvers.step.Step.forward` for the arguments."""


class Solution(NamedTuple):
    """The result of a solve, in the order of the given rows.

    Attributes:
        z: the state at t1, or at the time at which the row was given up, ``[rows, ...]``.
        steps: the number of attempted steps, accepted and rejected, ``[rows]``.
        rejected: the number of rejected steps, ``[rows]``.
        nfe: the number of evaluations of f for the row, ``[rows]``.
        error: the sum of the local error estimates of the accepted steps, each a root mean square in units of z,
            ``[rows]``; 0 for a fixed-step method. It is not a bound on the error of z, because it ignores how a local
            error grows or shrinks in later steps.
        outcome: an `Outcome` as an integer, ``[rows]``.
    """

    z: Array
    steps: Array
    rejected: Array
    nfe: Array
    error: Array
    outcome: Array


Observer = Callable[[Array, Array, Array, Attempt], None]
"""Called after each attempt with the rows' indices, their times and step sizes before the attempt, and the result."""


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
    """Solve ``dz/dt = f(t, z)`` from t0 to the step's t1, with separate step sizes for every row.

    A row that has ended leaves the batch at once, so nothing is computed for it while other rows go on.

    Args:
        step: the method applied to the dynamics.
        z: the states at t0, ``[rows, ...]``.
        rtol: relative tolerance, one for all rows or ``[rows]``; a fixed-step method ignores it.
        atol: absolute tolerance, one for all rows or ``[rows]``; a fixed-step method ignores it.
        first_step: the size of the first step, one for all rows or ``[rows]``. A fixed-step method needs it and uses it
            for every step. By default an adaptive method uses the size that `equal_steps` gives.
        t0: the start of the interval.
        max_steps: the number of attempts after which a row is given up, at least 1.
        observe: called after each attempt.

    Returns:
        The solution, in the order of the given rows.
    """
    xp = array_namespace(z)

    def per_row(value: Array | float) -> Array:
        return xp.astype(xp.zeros(z.shape[0], dtype=z.dtype, device=device(z)) + value, z.dtype)

    t, rtol, atol, error = (per_row(value) for value in (t0, rtol, atol, 0.0))
    h = per_row((step.t1 - t0) / equal_steps(step.tableau, rtol, atol) if first_step is None else first_step)
    row_indices = xp.arange(z.shape[0], device=device(z))
    rejected = xp.zeros_like(row_indices)
    k1 = step.dynamics(t, z) if step.tableau.fsal else z
    ended: list[tuple[Array, ...]] = []
    for attempts in range(1, max_steps + 1):
        tried = step(z, k1, t, h, rtol, atol)
        if observe is not None:
            observe(row_indices, t, h, tried)
        z, k1, t, h = tried.z, tried.k1, tried.t, tried.h
        accepted = tried.accepted
        rejected = rejected + xp.astype(~accepted, rejected.dtype)
        error = xp.where(accepted, error + tried.error, error)

        outcome = judge(tried, step.t1)
        leaving = (outcome != int(Outcome.max_steps)) | (attempts == max_steps)
        columns = (row_indices, z, xp.full_like(row_indices, attempts), rejected, error, outcome)
        if xp.all(leaving):
            ended.append(columns)
            break
        if not xp.any(leaving):
            continue
        ended.append(tuple(column[leaving] for column in columns))
        staying = (column[~leaving] for column in (z, k1, t, h, rtol, atol, row_indices, rejected, error))
        z, k1, t, h, rtol, atol, row_indices, rejected, error = staying
    row_indices, z, steps, rejected, error, outcome = (xp.concat(column) for column in zip(*ended, strict=True))
    order = xp.argsort(row_indices)
    nfe = step.tableau.evaluations(steps)
    return Solution(*(column[order] for column in (z, steps, rejected, nfe, error, outcome)))


def equal_steps(tableau: Tableau, rtol: Array, atol: Array) -> Array:
    """The expected number of steps of a solve if all steps were equal, ``[rows]``.

    The interval divided by this number is the size of the first step. The local error of an adaptive method is
    proportional to a power of the step size, so the step size is proportional to a root of the tolerance. A first step
    over the whole interval would ignore the tolerance: it would mostly be rejected, or it would be accepted although
    its error estimate is too small.

    Args:
        tableau: an adaptive method.
        rtol: relative tolerance, ``[rows]``.
        atol: absolute tolerance, ``[rows]``.
    """
    xp = array_namespace(rtol)
    step = FIRST_STEP * ((rtol + atol) / 2) ** (1 / tableau.error_exponent)
    return xp.clip(xp.round(1 / step), 1, None)


def judge(tried: Attempt, t1: float) -> Array:
    """The `Outcome` of each row if the solve stopped after this attempt, ``[rows]``.

    A row with the outcome `Outcome.max_steps` goes on. An attempt that was not finite is not a failure while a smaller
    step can be tried.

    Args:
        tried: the attempt.
        t1: the end of the interval.
    """
    xp = array_namespace(tried.t)
    failed = ~xp.isfinite(tried.error) & (tried.h < SMALLEST_STEP)
    reached = xp.where(tried.t >= t1, int(Outcome.converged), int(Outcome.max_steps))
    return xp.where(failed, int(Outcome.non_finite), reached)
