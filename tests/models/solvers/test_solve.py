"""The solve loop: every row takes its own steps, ends or fails independently, and has its own counts."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.testing import assert_close

from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.solve import SMALLEST_STEP, Outcome, Solution, solve
from models.solvers.step import Step
from models.solvers.tableau import Tableau
from tests.examples import examples

F64 = torch.float64

every_method = pytest.mark.parametrize("method", METHODS)
every_adaptive_method = pytest.mark.parametrize("method", [name for name, m in METHODS.items() if m.adaptive])
every_fixed_step_method = pytest.mark.parametrize("method", [name for name, m in METHODS.items() if not m.adaptive])


class Counting(nn.Module):
    """Dynamics that count the rows for which they are evaluated."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f
        self.rows = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        self.rows += len(z)
        return self.f(t, z)


def decay(t: Tensor, z: Tensor) -> Tensor:
    """y' = -k y and k' = 0, for a state [y, k]. The stiffness of a row is its k."""
    y, k = z[:, 0], z[:, 1]
    return torch.stack((-k * y, 0 * k), dim=1)


def square(t: Tensor, z: Tensor) -> Tensor:
    """z' = z^2. The solution from z(0) = z0 has a pole at t = 1/z0."""
    return z**2


def decaying(*rates: float, dtype: torch.dtype = F64) -> Tensor:
    """One row per rate, each with y = 1."""
    return torch.tensor([[1.0, k] for k in rates], dtype=dtype)


def step_of(method: str, f: Callable[[Tensor, Tensor], Tensor] = decay) -> Step:
    """One step of a method, applied to a function."""
    return Step(Counting(f), METHODS[method])


def first_step_of(method: str) -> float:
    """The whole interval for an adaptive method, and a sixteenth of it for a fixed-step method."""
    return 1.0 if METHODS[method].adaptive else 1 / 16


@every_method
def test_evaluations_are_counted_per_row(method: str) -> None:
    """The reported evaluations equal the actual evaluations, so nothing is computed for a row that has ended."""
    step, tableau = step_of(method), METHODS[method]
    first_step = torch.tensor([1 / 4, 1 / 8, 1 / 16, 1 / 2], dtype=F64)
    solution = solve(step, decaying(1, 10, 40, 0.1), first_step=first_step)
    assert len(set(solution.steps.tolist())) > 1
    assert torch.equal(solution.nfe, tableau.evaluations_to_start + solution.steps * tableau.evaluations_per_step)
    assert isinstance(step.dynamics, Counting)
    assert step.dynamics.rows == solution.nfe.sum()


@pytest.mark.parametrize(("method", "nfe"), [("heun2", 2), ("bosh3", 4), ("dopri5", 7), ("tsit5", 7)])
def test_one_step_suffices_with_infinite_tolerances(method: str, nfe: int) -> None:
    solution = solve(step_of(method), decaying(1, 100), rtol=math.inf, atol=math.inf)
    assert solution.steps.tolist() == [1, 1]
    assert solution.rejected.tolist() == [0, 0]
    assert solution.nfe.tolist() == [nfe, nfe]


@every_fixed_step_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 10, 49, 100, 333])
def test_a_fixed_step_method_takes_the_requested_number_of_steps(method: str, steps: int, dtype: torch.dtype) -> None:
    """Rounding adds no tiny last step."""
    solution = solve(step_of(method), decaying(1, 2, dtype=dtype), first_step=1 / steps)
    assert solution.steps.tolist() == [steps, steps]
    assert solution.rejected.tolist() == [0, 0]
    assert solution.error.tolist() == [0, 0]
    assert solution.outcome.tolist() == [Outcome.converged] * 2


@every_method
def test_the_interval_may_start_and_end_at_any_time(method: str) -> None:
    """With z' = 2t, z grows by 8 from t = 1 to t = 3."""
    step = Step(Counting(lambda t, z: 2 * t.view(-1, 1).expand_as(z)), METHODS[method], t1=3.0)
    solution = solve(step, torch.zeros(2, 2, dtype=F64), rtol=1e-4, atol=1e-4, t0=1.0, first_step=1 / 64)
    assert_close(solution.z, torch.full((2, 2), 8.0, dtype=F64), rtol=5e-3, atol=0)


@every_method
@examples(0.3)
@given(
    rates=st.lists(st.floats(0, 30), min_size=2, max_size=5),
    exponents=st.lists(st.floats(1, 4), min_size=5, max_size=5),
    firsts=st.lists(st.floats(0.05, 1), min_size=5, max_size=5),
)
def test_a_row_has_the_same_solution_alone_and_in_a_batch(
    method: str, rates: list[float], exponents: list[float], firsts: list[float]
) -> None:
    z = decaying(*rates)
    tolerance = 10 ** -torch.tensor(exponents, dtype=F64)[: len(z)]
    first = torch.tensor(firsts, dtype=F64)[: len(z)]
    together = solve(step_of(method), z, rtol=tolerance, atol=2 * tolerance, first_step=first)
    for i in range(len(z)):
        row = slice(i, i + 1)
        alone = solve(step_of(method), z[row], rtol=tolerance[row], atol=2 * tolerance[row], first_step=first[row])
        assert_close(together.z[row], alone.z, rtol=1e-12, atol=1e-14)
        assert_close(together.error[row], alone.error, rtol=1e-9, atol=1e-14)
        for name in ("steps", "rejected", "nfe", "outcome"):
            assert torch.equal(getattr(together, name)[row], getattr(alone, name)), name


@every_adaptive_method
def test_one_tolerance_for_all_rows_equals_the_same_tolerance_for_each_row(method: str) -> None:
    z, each = decaying(1, 10, 40), torch.full((3,), 1e-4, dtype=F64)
    for one, other in zip(
        solve(step_of(method), z, rtol=1e-4, atol=1e-4, first_step=0.5),
        solve(step_of(method), z, rtol=each, atol=each, first_step=each * 0 + 0.5),
        strict=True,
    ):
        assert torch.equal(one, other)


@every_adaptive_method
def test_relative_and_absolute_tolerances_have_different_effects(method: str) -> None:
    """A large state needs fewer steps with a relative tolerance; a small state with an absolute tolerance."""
    z = torch.tensor([[1e3, 10.0], [1e-3, 10.0]], dtype=F64)
    relative = solve(step_of(method), z, rtol=1e-3, atol=1e-9).steps
    absolute = solve(step_of(method), z, rtol=1e-9, atol=1e-3).steps
    assert relative[0] < absolute[0]
    assert relative[1] > absolute[1]


@every_adaptive_method
def test_observer_sees_every_attempt(method: str) -> None:
    """The observed attempts suffice to reconstruct the whole solution, with its counts."""
    z = decaying(15, 30, 60)
    steps, rejected = torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    time, state, error, ended = torch.zeros(3, dtype=F64), z.clone(), torch.zeros(3, dtype=F64), torch.zeros(3)

    def observe(rows: Tensor, t: Tensor, h: Tensor, tried: Attempt) -> None:
        assert not ended[rows].any(), "a row that had ended was attempted again"
        assert torch.equal(t, time[rows]), "the time before an attempt is the time after the previous attempt"
        assert (h > 0).all()
        moved = tried.accepted
        assert torch.equal(tried.z[~moved], state[rows][~moved]), "a rejected row keeps its state"
        assert torch.equal(tried.t[~moved], t[~moved]), "a rejected row keeps its time"
        assert (tried.t[moved] > t[moved]).all()
        assert (tried.h[~moved] < h[~moved]).all()
        steps[rows] += 1
        rejected[rows] += (~moved).long()
        error[rows] += tried.error * moved
        time[rows], state[rows], ended[rows] = tried.t, tried.z, (tried.t >= 1).float()

    solution = solve(step_of(method), z, rtol=1e-4, atol=1e-4, observe=observe)
    assert rejected.min() > 0
    assert time.tolist() == [1.0] * 3
    assert torch.equal(solution.steps, steps)
    assert torch.equal(solution.rejected, rejected)
    assert torch.equal(solution.z, state)
    assert_close(solution.error, error)


@every_adaptive_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_row_that_runs_out_of_steps_does_not_affect_the_other_rows(method: str, dtype: torch.dtype) -> None:
    z = decaying(0.1, 1e5, 0.2, dtype=dtype)
    solution = solve(step_of(method), z, rtol=1e-2, atol=1e-2, max_steps=20)
    assert solution.outcome.tolist() == [Outcome.converged, Outcome.max_steps, Outcome.converged]
    assert solution.steps[1] == 20
    assert_close(solution.z[[0, 2], 0], torch.exp(-z[[0, 2], 1]), rtol=0.02, atol=0)


@every_method
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_with_a_non_finite_initial_state_does_not_affect_the_other_rows(method: str, bad: float) -> None:
    z = torch.tensor([[1.0, 0.5], [bad, 0.5], [1.0, 1.5]], dtype=F64)
    solution = solve(step_of(method), z, rtol=1e-4, atol=1e-4, first_step=1 / 128)
    assert solution.outcome.tolist() == [Outcome.converged, Outcome.non_finite, Outcome.converged]
    assert_close(solution.z[[0, 2], 0], torch.exp(-z[[0, 2], 1]), rtol=0.02, atol=0)
    assert solution.steps[1] < 10, "a row that cannot recover is given up soon"


@every_method
def test_a_row_that_diverges_is_never_reported_as_converged(method: str) -> None:
    """The second row has a pole at t = 1/4. The other rows are 1 / (2 - t) and 1 / (4 - t)."""
    z = torch.tensor([[0.5], [4.0], [0.25]])
    solution = solve(step_of(method, square), z, rtol=1e-4, atol=1e-4, first_step=1 / 100)
    assert solution.outcome[[0, 2]].tolist() == [Outcome.converged] * 2
    assert_close(solution.z[[0, 2]], torch.tensor([[1.0], [1 / 3]]), rtol=1e-2, atol=0)
    assert solution.outcome[1] == Outcome.non_finite or (
        method == "heun2" and solution.outcome[1] == Outcome.max_steps
    ), "a method of low order reaches the limit of steps before its numbers overflow"


@every_adaptive_method
def test_a_failing_row_is_retried_down_to_the_smallest_step(method: str) -> None:
    """After the last attempt the row is reported as not finite, with its initial state."""
    sizes: list[float] = []
    z = torch.ones(1, 2, dtype=F64)
    solution = solve(
        step_of(method, lambda t, z: z * math.nan),
        z,
        first_step=1.0,
        observe=lambda rows, t, h, tried: sizes.append(h.item()),
    )
    assert_allclose(sizes, [0.2**n for n in range(9)])
    assert 0.2 * sizes[-1] < SMALLEST_STEP < sizes[-1]
    assert solution.outcome.tolist() == [Outcome.non_finite]
    assert solution.rejected.tolist() == solution.steps.tolist() == [9]
    assert torch.equal(solution.z, z)


@every_adaptive_method
def test_a_row_recovers_from_an_attempt_that_was_not_finite(method: str) -> None:
    """z' = -sinh(10 z) overflows if the first step is too long."""
    finite: list[bool] = []
    solution = solve(
        step_of(method, lambda t, z: -torch.sinh(10 * z)),
        torch.ones(1, 1, dtype=F64),
        observe=lambda rows, t, h, tried: finite.append(bool(torch.isfinite(tried.error).all())),
    )
    assert finite[0] is False
    assert solution.outcome.tolist() == [Outcome.converged]
    assert solution.z.abs().item() < 0.01


@every_method
@pytest.mark.parametrize("shape", [(2,), (4, 3, 3)])
def test_an_empty_batch_has_an_empty_solution(method: str, shape: tuple[int, ...]) -> None:
    solution = solve(step_of(method, square), torch.zeros(0, *shape))
    assert solution.z.shape == (0, *shape)
    assert all(column.shape == (0,) for column in solution[1:])


@every_method
def test_the_solution_keeps_the_order_and_the_type_of_the_rows(method: str) -> None:
    z = decaying(30, 0.1, 10, 1, 20, dtype=torch.float32)
    solution = solve(step_of(method), z, first_step=torch.tensor([1 / 30, 1, 1 / 20, 1 / 2, 1 / 25]))
    assert torch.equal(solution.z[:, 1], z[:, 1])
    assert solution.z.dtype == solution.error.dtype == torch.float32
    assert solution.steps.argmin() == 1


class NumpyStep:
    """A step of any method in NumPy, for y' = -k y with a state [y, k]. It is independent of the step under test."""

    def __init__(self, tableau: Tableau) -> None:
        self.tableau = tableau
        self.t1 = 1.0

    def dynamics(self, t: Any, z: Any, /) -> Any:
        return np.stack((-z[:, 1] * z[:, 0], 0 * z[:, 1]), axis=1)

    def __call__(self, z: Any, k1: Any, t: Any, h: Any, rtol: Any, atol: Any, /) -> Attempt:
        width = np.where(h * 1.01 >= 1 - t, 1 - t, h)
        stages = np.zeros((self.tableau.stages, *z.shape))
        for i, (row, c) in enumerate(zip(self.tableau.a, self.tableau.c, strict=True)):
            argument = z + width[:, None] * np.tensordot(np.array(row), stages[:i], 1)
            stages[i] = self.dynamics(t + c * width, argument)
        end = z + width[:, None] * np.tensordot(np.array(self.tableau.b), stages, 1)
        reached = np.where(width == 1 - t, 1.0, t + width)
        if not self.tableau.adaptive:
            return Attempt(end, k1, reached, h, 0 * h, h > 0)
        error = width[:, None] * np.tensordot(np.array(self.tableau.error_weights), stages, 1)
        allowed = atol[:, None] + rtol[:, None] * np.maximum(abs(z), abs(end))
        ratio = np.sqrt(np.mean((error / allowed) ** 2, axis=1))
        return Attempt(
            z=np.where((ratio <= 1)[:, None], end, z),
            k1=np.where((ratio <= 1)[:, None], stages[-1], stages[0]),
            t=np.where(ratio <= 1, reached, t),
            h=width * np.clip(0.9 * ratio ** (-1 / self.tableau.error_exponent), 0.2, 10),
            error=np.sqrt(np.mean(error**2, axis=1)),
            accepted=ratio <= 1,
        )


@every_method
def test_numpy_and_torch_take_the_same_steps(method: str) -> None:
    z, first = decaying(1, 10, 40, 0.1), first_step_of(method)
    in_torch: Solution = solve(step_of(method), z, rtol=1e-4, atol=1e-5, first_step=first)
    in_numpy: Solution = solve(NumpyStep(METHODS[method]), z.numpy(), rtol=1e-4, atol=1e-5, first_step=first)
    for name in ("steps", "rejected", "nfe", "outcome"):
        assert_allclose(getattr(in_numpy, name), getattr(in_torch, name), rtol=0)
    assert isinstance(in_numpy.z, np.ndarray)
    assert_allclose(in_numpy.z, in_torch.z, rtol=1e-10, atol=1e-12)
    assert_allclose(in_numpy.error, in_torch.error, rtol=1e-6, atol=1e-12)
