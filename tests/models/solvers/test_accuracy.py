"""The accuracy of the solves, compared with closed solutions, tolerances and other solvers."""

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pytest
import torch
import torchdiffeq
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from torch import Tensor, nn
from torch.testing import assert_close

from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome, Solution, solve
from models.solvers.step import Step
from models.solvers.tableau import Tableau
from tests.examples import examples

Vector: TypeAlias = NDArray[np.float64]

F64 = torch.float64
ADAPTIVE = [name for name, tableau in METHODS.items() if tableau.adaptive]

every_method = pytest.mark.parametrize("method", METHODS)
every_adaptive_method = pytest.mark.parametrize("method", ADAPTIVE)


class Dynamics(nn.Module):
    """A function of time and state as a module."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.f(t, z)


def bell(t: Tensor, z: Tensor) -> Tensor:
    """z' = -2 t z^2. Its solution from z(0) = 1 is the bell curve 1 / (1 + t^2)."""
    return -2 * t.view(-1, 1) * z**2


def swing(t: Tensor, z: Tensor) -> Tensor:
    """z' = 4 cos(5t) z. Its solution is z(0) e^(4/5 sin 5t)."""
    return 4 * torch.cos(5 * t).view(-1, 1) * z


def swing_at_the_end(z: Tensor) -> Tensor:
    """The solution of `swing` at t = 1."""
    return z * math.exp(0.8 * math.sin(5))


def predators_and_prey(t: Tensor, z: Tensor) -> Tensor:
    """The Lotka-Volterra equations, eight times as fast, with a growth rate of the prey that depends on the time."""
    prey, predators = z[..., 0], z[..., 1]
    season = 1.5 + torch.sin(6 * t)
    return 8 * torch.stack((prey * (season - predators), predators * (prey - 1)), dim=-1)


ANIMALS = torch.tensor([[1.0, 0.5], [2.0, 1.0], [0.3, 1.8]], dtype=F64)


def slope(x: list[float], y: list[float]) -> float:
    """The slope of the regression line through the points on logarithmic scales."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def fixed_steps(tableau: Tableau, steps: int) -> Tensor:
    """The bell curve at t = 1 after equal steps; the tolerance is infinite, so every step is accepted."""
    step = Step(Dynamics(bell), tableau)
    z, t, h, loose = (torch.full((1,), value, dtype=F64) for value in (1.0, 0.0, 1 / steps, math.inf))
    z = z.unsqueeze(1)
    k1 = bell(t, z)
    for _ in range(steps):
        result: Attempt = step(z, k1, t, h, loose, loose)
        z, k1, t = result.z, result.k1, result.t
    assert t.item() == 1
    return z


@every_method
def test_global_error_shrinks_with_the_order_of_the_method(method: str) -> None:
    tableau = METHODS[method]
    steps = [10, 20, 40, 80]
    errors = [abs(fixed_steps(tableau, n).item() - 0.5) for n in steps]
    assert slope([1 / n for n in steps], errors) == pytest.approx(tableau.order, abs=0.25)


@every_adaptive_method
def test_error_estimate_is_proportional_to_the_stated_power_of_the_step(method: str) -> None:
    tableau = METHODS[method]
    widths = [0.2 / 2**n for n in range(5)]
    h, z = torch.tensor(widths, dtype=F64), torch.full((5, 1), 1 / 1.09, dtype=F64)
    t, loose = torch.full_like(h, 0.3), torch.full_like(h, math.inf)
    result: Attempt = Step(Dynamics(bell), tableau)(z, bell(t, z), t, h, loose, loose)
    assert slope(widths, result.error.tolist()) == pytest.approx(tableau.error_exponent, abs=0.25)


@pytest.mark.parametrize(("method", "tightest"), [("heun2", -6), ("bosh3", -8), ("dopri5", -9), ("tsit5", -9)])
def test_error_follows_the_tolerance(method: str, tightest: int) -> None:
    """One solve covers all tolerances, one per row. For each tolerance we take the worst of several initial sizes.

    The first step is 0.1, because the error estimate of a step that is longer than the oscillation is unreliable.
    """
    decades = torch.arange(-3, tightest - 1, -1, dtype=F64)
    sizes = torch.tensor([0.01, 0.1, 0.3, 1.0, 3.0], dtype=F64)
    tolerances, z = (10**decades).repeat_interleave(len(sizes)), sizes.repeat(len(decades)).unsqueeze(1)

    solution = solve(
        Step(Dynamics(swing), METHODS[method]), z, rtol=tolerances, atol=tolerances, first_step=0.1, max_steps=9999
    )
    assert (solution.outcome == Outcome.converged).all()
    errors = ((solution.z - swing_at_the_end(z)).abs().view(len(decades), -1) / (1 + sizes)).amax(1)
    cost = solution.nfe.view(len(decades), -1).sum(1)
    assert (errors.diff() < 0).all(), f"errors do not fall with the tolerance: {errors.tolist()}"
    assert (cost.diff() > 0).all(), f"a tighter tolerance costs no more: {cost.tolist()}"
    assert (errors < 5 * 10**decades).all(), f"errors in units of the tolerance: {(errors / 10**decades).tolist()}"


@every_adaptive_method
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5, 1e-6])
def test_the_reported_error_is_not_much_too_small(method: str, tolerance: float) -> None:
    """The estimate is for the pair's lower order, and the sum over the steps ignores that errors can cancel."""
    z = torch.ones(1, 1, dtype=F64)
    solution = solve(
        Step(Dynamics(swing), METHODS[method]), z, rtol=tolerance, atol=tolerance, first_step=0.1, max_steps=9999
    )
    assert solution.outcome.tolist() == [Outcome.converged]
    assert (solution.z - swing_at_the_end(z)).abs().item() < 2 * solution.error.item()


def reference(f: Callable[[Tensor, Tensor], Tensor], z: Tensor) -> Tensor:
    """The solution of every row by SciPy's method of order eight."""

    def right_hand_side(t: float, y: Vector) -> Vector:
        return f(torch.tensor([t], dtype=F64), torch.from_numpy(y).unsqueeze(0)).squeeze(0).numpy()

    ends = [solve_ivp(right_hand_side, (0, 1), row, method="DOP853", rtol=1e-13, atol=1e-13).y[:, -1] for row in z]
    return torch.from_numpy(np.stack(ends))


@pytest.mark.parametrize(("method", "tolerance"), [("bosh3", 1e-7), ("dopri5", 1e-12), ("tsit5", 1e-12)])
def test_solutions_agree_with_scipy_on_a_nonlinear_system(method: str, tolerance: float) -> None:
    solution = solve(
        Step(Dynamics(predators_and_prey), METHODS[method]), ANIMALS, rtol=tolerance, atol=tolerance, max_steps=5000
    )
    assert (solution.outcome == Outcome.converged).all()
    assert_close(solution.z, reference(predators_and_prey, ANIMALS), rtol=0, atol=100 * tolerance)


@pytest.mark.parametrize("method", ["euler", "midpoint"])
def test_fixed_steps_agree_with_torchdiffeq(method: str) -> None:
    times = torch.tensor([0.0, 1.0], dtype=F64)
    theirs = torchdiffeq.odeint(predators_and_prey, ANIMALS, times, method=method, options={"step_size": 1 / 32})[-1]
    ours = solve(Step(Dynamics(predators_and_prey), METHODS[method]), ANIMALS, first_step=1 / 32)
    assert ours.steps.tolist() == [32] * 3
    assert_close(ours.z, theirs, rtol=1e-12, atol=1e-12)


def test_rk4_agrees_with_the_other_fourth_order_rule_of_torchdiffeq() -> None:
    """torchdiffeq uses the 3/8 rule. The two rules differ by their errors, which are of the fourth order."""
    times = torch.tensor([0.0, 1.0], dtype=F64)
    theirs = torchdiffeq.odeint(predators_and_prey, ANIMALS, times, method="rk4", options={"step_size": 1 / 512})[-1]
    ours = solve(Step(Dynamics(predators_and_prey), METHODS["rk4"]), ANIMALS, first_step=1 / 512)
    assert_close(ours.z, theirs, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("method", "tolerance"), [("bosh3", 1e-7), ("dopri5", 1e-9)])
def test_adaptive_steps_agree_with_torchdiffeq(method: str, tolerance: float) -> None:
    times = torch.tensor([0.0, 1.0], dtype=F64)
    theirs = torchdiffeq.odeint(predators_and_prey, ANIMALS, times, method=method, rtol=tolerance, atol=tolerance)[-1]
    ours = solve(Step(Dynamics(predators_and_prey), METHODS[method]), ANIMALS, rtol=tolerance, atol=tolerance)
    assert_close(ours.z, theirs, rtol=0, atol=100 * tolerance)


def linear_rows(seed: int, rows: int) -> tuple[Tensor, Tensor]:
    """Rows with the state [z | A], and for each row the exact solution of z' = A z at t = 1."""
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, 2, 1, generator=generator, dtype=F64)
    a = torch.empty(rows, 2, 2, dtype=F64).uniform_(-2, 2, generator=generator)
    return torch.cat((z, a), dim=2), torch.linalg.matrix_exp(a) @ z


def linear(t: Tensor, state: Tensor) -> Tensor:
    """z' = A z and A' = 0, for the state [z | A]."""
    z, a = state[..., :1], state[..., 1:]
    return torch.cat((a @ z, torch.zeros_like(a)), dim=2)


@every_adaptive_method
@examples(0.5)
@given(
    seed=st.integers(0, 2**32 - 1), exponents=st.lists(st.floats(2, 5, allow_subnormal=False), min_size=1, max_size=6)
)
def test_any_linear_system_is_solved_within_a_small_multiple_of_its_tolerance(
    method: str, seed: int, exponents: list[float]
) -> None:
    state, exact = linear_rows(seed, len(exponents))
    tolerance = 10 ** -torch.tensor(exponents, dtype=F64)
    solution: Solution = solve(Step(Dynamics(linear), METHODS[method]), state, rtol=tolerance, atol=tolerance)
    assert (solution.outcome == Outcome.converged).all()
    size = 1 + torch.maximum(state[..., :1].abs(), exact.abs()).amax((1, 2))
    error = (solution.z[..., :1] - exact).abs().amax((1, 2)) / size
    assert (error < 50 * tolerance).all(), f"errors in units of the tolerance: {(error / tolerance).tolist()}"
