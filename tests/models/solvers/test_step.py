"""One attempted step: its evaluations, its accepted and rejected rows, and its error estimate."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.step import Step
from models.solvers.tableau import Tableau
from tests.examples import examples

F64 = torch.float64

every_method = pytest.mark.parametrize("tableau", METHODS.values(), ids=list(METHODS))
every_adaptive_method = pytest.mark.parametrize(
    "tableau", [pytest.param(m, id=m.name) for m in METHODS.values() if m.adaptive]
)
every_fixed_step_method = pytest.mark.parametrize(
    "tableau", [pytest.param(m, id=m.name) for m in METHODS.values() if not m.adaptive]
)


class Recording(nn.Module):
    """Dynamics that record the times at which they are evaluated."""

    def __init__(self, f: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.f = f
        self.times: list[Tensor] = []

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        self.times.append(t)
        return self.f(t, z)


def pull_to_cosine(t: Tensor, z: Tensor) -> Tensor:
    """A smooth right-hand side that depends on the time and nonlinearly on the state."""
    return torch.cos(3 * t).view(-1, 1) - z * z.abs()


def attempt(
    tableau: Tableau,
    z: Tensor,
    *,
    t: Tensor | float = 0.0,
    h: Tensor | float = 0.25,
    tolerance: Tensor | float = math.inf,
    f: Callable[[Tensor, Tensor], Tensor] = pull_to_cosine,
    t1: float = 1.0,
) -> Attempt:
    """Attempt one step from ``z``. For an FSAL method, evaluate the first stage first."""
    t, h, tolerance = (torch.zeros(len(z), dtype=z.dtype) + value for value in (t, h, tolerance))
    k1 = f(t, z) if tableau.fsal else torch.full_like(z, math.nan)
    result = Step(Recording(f), tableau, t1)(z, k1, t, h, tolerance, tolerance)
    assert isinstance(result, Attempt)
    return result


@every_method
def test_a_step_equals_the_textbook_sum_over_stages(tableau: Tableau) -> None:
    z, t, h = torch.tensor([[0.5, -1.0]], dtype=F64), torch.tensor([0.25], dtype=F64), 0.125
    stages: list[Tensor] = []
    for row, c in zip(tableau.a, tableau.c, strict=True):
        argument = z + sum((h * a * k for a, k in zip(row, stages, strict=True)), torch.zeros_like(z))
        stages.append(pull_to_cosine(t + c * h, argument))
    expected = z + sum((h * b * k for b, k in zip(tableau.b, stages, strict=True)), torch.zeros_like(z))
    result = attempt(tableau, z, t=t, h=h)
    assert_close(result.z, expected, rtol=1e-14, atol=1e-14)
    assert_close(result.t, t + h)


@every_method
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("h", [0.7, 0.6999, 0.698, 1.0, 50.0])
def test_the_last_step_ends_exactly_at_the_end(tableau: Tableau, dtype: torch.dtype, h: float) -> None:
    """A step that would otherwise end just before the end also ends exactly there."""
    result = attempt(tableau, torch.ones(1, 2, dtype=dtype), t=0.3, h=h)
    assert result.t.tolist() == [1.0]


@every_method
def test_the_last_step_is_as_long_as_the_rest_of_the_interval(tableau: Tableau) -> None:
    z = torch.tensor([[0.5, -1.0]], dtype=F64)
    assert_close(attempt(tableau, z, t=0.75, h=7.0).z, attempt(tableau, z, t=0.75, h=0.25).z)


@every_method
def test_the_interval_may_end_at_any_time(tableau: Tableau) -> None:
    assert attempt(tableau, torch.ones(1, 1), t=2.0, h=1.0, t1=2.5).t.tolist() == [2.5]
    assert attempt(tableau, torch.ones(1, 1), t=2.0, h=0.25, t1=2.5).t.tolist() == [2.25]


@every_method
@pytest.mark.parametrize(("end", "dtype"), [(0.8, torch.float32), (0.9, torch.float64)])
def test_a_row_reaches_an_end_that_is_not_exact_in_binary(tableau: Tableau, end: float, dtype: torch.dtype) -> None:
    """The step sets the time to the end, because t + (t1 - t) may be smaller after rounding."""
    t, t1 = torch.linspace(0, 0.75, 500, dtype=dtype), torch.tensor(end, dtype=dtype)
    assert (t + (t1 - t) < t1).any(), "this test needs a sum that rounding makes too small"
    assert (attempt(tableau, torch.ones(500, 1, dtype=dtype), t=t, h=1.0, t1=end).t == t1).all()


@every_method
@examples(0.6)
@given(
    begin=st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=1, max_size=4),
    h=st.floats(2**-20, 4, width=32),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_dynamics_are_never_evaluated_outside_the_step(
    tableau: Tableau, begin: list[float], h: float, dtype: torch.dtype
) -> None:
    t = torch.tensor(begin, dtype=dtype)
    z, steps = torch.zeros(len(t), 1, dtype=dtype), torch.full_like(t, h)
    dynamics = Recording(lambda t, z: torch.ones_like(z))
    result = Step(dynamics, tableau)(z, torch.ones_like(z), t, steps, steps, steps)
    assert len(dynamics.times) == tableau.evaluations_per_step
    assert all((t <= time).all() and (time <= 1).all() for time in dynamics.times)
    assert (result.t <= 1).all()
    assert_close(result.z.squeeze(1), result.t - t, msg="z' = 1 measures the width of the step")


@every_adaptive_method
def test_a_rejected_row_keeps_its_state_and_tries_a_smaller_step(tableau: Tableau) -> None:
    z, t = torch.tensor([[0.5, -1.0]], dtype=F64), torch.tensor([0.125], dtype=F64)
    result = attempt(tableau, z, t=t, h=0.5, tolerance=1e-12)
    assert result.accepted.tolist() == [False]
    assert torch.equal(result.z, z)
    assert torch.equal(result.t, t)
    assert torch.equal(result.k1, pull_to_cosine(t, z))
    assert 0 < result.h.item() < 0.5
    assert result.error.item() > 1e-12


@every_adaptive_method
def test_a_rejected_last_step_shrinks_from_its_shortened_size(tableau: Tableau) -> None:
    """The step does not shrink from its requested size: a fraction of this size may again be longer than the rest."""
    z = torch.tensor([[0.5, -1.0]], dtype=F64)
    assert attempt(tableau, z, t=0.5, h=100.0, tolerance=1e-12).h.item() < 0.5


@every_adaptive_method
def test_rows_are_independent(tableau: Tableau) -> None:
    """In one batch some rows are accepted and some are rejected, and each has the same result as alone."""
    z = torch.tensor([[0.5, -1.0], [0.5, -1.0], [2.0, 0.1], [0.0, math.nan]], dtype=F64)
    t = torch.tensor([0.0, 0.0, 0.5, 0.25], dtype=F64)
    h = torch.tensor([0.5, 0.5, 0.75, 0.5], dtype=F64)
    tolerance = torch.tensor([1e-12, 10.0, 1.0, 1.0], dtype=F64)
    together = attempt(tableau, z, t=t, h=h, tolerance=tolerance)
    assert together.accepted.tolist() == [False, True, True, False]
    assert_close(together.t, torch.tensor([0.0, 0.5, 1.0, 0.25], dtype=F64))
    for i in range(len(z)):
        row = slice(i, i + 1)
        alone = attempt(tableau, z[row], t=t[row], h=h[row], tolerance=tolerance[row])
        for column, whole in zip(alone, together, strict=True):
            assert_close(column, whole[row], rtol=1e-13, atol=1e-15, equal_nan=True)


@pytest.mark.parametrize("tableau", [pytest.param(m, id=m.name) for m in METHODS.values() if m.fsal])
def test_the_last_stage_is_the_first_stage_of_the_next_step(tableau: Tableau) -> None:
    z = torch.tensor([[0.5, -1.0], [2.0, 0.1]], dtype=F64)
    result = attempt(tableau, z, t=torch.tensor([0.0, 0.5], dtype=F64), h=0.5)
    assert result.accepted.all()
    assert_close(result.k1, pull_to_cosine(result.t, result.z), rtol=1e-14, atol=1e-14)


@every_fixed_step_method
def test_a_fixed_step_method_keeps_its_step_and_reports_no_error(tableau: Tableau) -> None:
    result = attempt(tableau, torch.ones(2, 3), h=torch.tensor([0.25, 0.5]), tolerance=0.0)
    assert result.accepted.tolist() == [True, True]
    assert result.h.tolist() == [0.25, 0.5]
    assert result.error.tolist() == [0.0, 0.0]


@every_fixed_step_method
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_fixed_step_method_reports_a_non_finite_row_by_its_error(tableau: Tableau, bad: float) -> None:
    z = torch.tensor([[1.0, 2.0], [1.0, bad]])
    result = attempt(tableau, z, f=lambda t, z: z)
    assert torch.isfinite(result.error).tolist() == [True, False]
    assert result.accepted.tolist() == [True, False]
    assert result.t.tolist() == [0.25, 0.0]
    assert_close(result.z[1], z[1], equal_nan=True)


@every_adaptive_method
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_adaptive_method_tries_a_smaller_step_for_a_non_finite_row(tableau: Tableau, bad: float) -> None:
    z = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    result = attempt(tableau, z, f=lambda t, z: torch.where(t.view(-1, 1) > torch.tensor([[9.0], [0.0]]), bad, 0.0 * z))
    assert torch.isfinite(result.error).tolist() == [True, False]
    assert result.accepted.tolist() == [True, False]
    assert_close(result.z, z)
    assert result.h[1].item() == pytest.approx(0.25 * 0.2)


@every_adaptive_method
def test_a_step_that_overflows_is_not_accepted(tableau: Tableau) -> None:
    """The step is not accepted even if the derivatives are finite and equal, so that their differences are zero."""
    z = torch.full((1, 2), 3e38)
    result = attempt(tableau, z, h=1.0, tolerance=1e-3, f=lambda t, z: torch.full_like(z, 3e38))
    assert result.accepted.tolist() == [False]
    assert not torch.isfinite(result.error).any()
    assert torch.equal(result.z, z)


@pytest.mark.parametrize(
    ("tolerance", "accepted", "h_next"),
    [
        pytest.param(1 / 8, True, 0.45, id="error equal to the allowed error"),
        pytest.param(1 / 128, False, 0.1125, id="error sixteen times the allowed error"),
        pytest.param(2.0, True, 1.8, id="error a sixteenth of the allowed error"),
    ],
)
def test_error_and_next_step_by_hand(tolerance: float, accepted: bool, h_next: float) -> None:
    """A step of size 1/2 on z' = 4t from z = 0: Heun's method is exact, and the embedded Euler step is wrong by 1/2.

    k1 = 0 and k2 = 2, so Heun gives z = 1/4 * (0 + 2) = 1/2, and Euler gives 0. The error estimate is 1/2, and the
    tolerances allow atol + rtol * max(0, 1/2) = 2 atol. With h = 1/2, h' = 0.45 * sqrt(allowed / error).
    """
    half = torch.tensor([0.5], dtype=F64)
    z, atol = torch.zeros(1, 3, dtype=F64), torch.tensor([tolerance * 2], dtype=F64)
    step = Step(Recording(lambda t, z: 4 * t.view(-1, 1).expand_as(z)), METHODS["heun2"])
    result: Attempt = step(z, z, half * 0, half, 2 * atol, atol)
    assert result.error.item() == pytest.approx(0.5)
    assert result.accepted.item() is accepted
    assert result.z.tolist() == [[0.5] * 3 if accepted else [0.0] * 3]
    assert result.h.item() == pytest.approx(h_next)


@every_method
def test_every_field_of_the_result_has_the_type_of_the_state(tableau: Tableau) -> None:
    result = attempt(tableau, torch.ones(2, 3, dtype=F64))
    assert {part.dtype for part in result[:5]} == {F64}
    assert result.accepted.dtype == torch.bool
