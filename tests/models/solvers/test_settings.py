"""Solver settings: their effect on a solve, and the settings that are refused."""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.settings import MOST_STEPS, SolverSettings
from models.solvers.solve import Solution, solve
from models.solvers.step import Step


class Decay(nn.Module):
    """z' = -z."""

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return -z


def solved(settings: SolverSettings) -> tuple[Solution, list[float]]:
    """The solution for a setting, and the sizes of its steps."""
    sizes = list[float]()

    def observe(rows: Tensor, t: Tensor, h: Tensor, tried: Attempt) -> None:
        sizes.append(h.item())

    z = torch.ones(1, 1, dtype=torch.float64)
    return solve(Step(Decay(), METHODS[settings.method]), z, **settings.arguments._asdict(), observe=observe), sizes


@pytest.mark.parametrize("steps", [1, 3, 7, MOST_STEPS])
@pytest.mark.parametrize("method", ["euler", "midpoint", "rk4"])
def test_a_fixed_step_method_takes_the_requested_number_of_equal_steps(method: str, steps: int) -> None:
    solution, sizes = solved(SolverSettings(method=method, steps=steps))
    assert solution.steps.tolist() == [steps]
    assert sizes == [1 / steps] * steps


@pytest.mark.parametrize("method", ["heun2", "bosh3", "dopri5", "tsit5"])
def test_both_tolerances_tighten_an_adaptive_method(method: str) -> None:
    """The tolerances also determine the first step."""
    (loose, first), *tighter = (
        solved(SolverSettings(method=method, rtol=rtol, atol=atol))
        for rtol, atol in ((1e-2, 1e-2), (1e-6, 1e-2), (1e-2, 1e-6), (1e-6, 1e-6))
    )
    assert all(sizes[0] <= first[0] for _, sizes in tighter)
    assert tighter[-1][1][0] < first[0]
    assert tighter[-1][0].steps > loose.steps


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3, 0.1, 10.0])
@pytest.mark.parametrize("method", ["heun2", "bosh3", "dopri5", "tsit5"])
def test_the_first_step_is_the_step_that_a_solve_derives_from_the_tolerances(method: str, tolerance: float) -> None:
    settings, z = SolverSettings.adaptive(method, tolerance), torch.ones(1, 1)
    sizes = list[float]()

    def observe(rows: Tensor, t: Tensor, h: Tensor, tried: Attempt) -> None:
        sizes.append(h.item())

    step = Step(Decay(), METHODS[method])
    solve(step, z, rtol=tolerance, atol=tolerance, observe=observe)
    derived = sizes.copy()
    sizes.clear()
    solve(step, z, **settings.arguments._asdict(), observe=observe)
    assert sizes == derived


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "magic"}, "no method is called 'magic'"),
        ({"method": "dopri5"}, "dopri5 is adaptive"),
        ({"method": "dopri5", "rtol": 0.1}, "dopri5 is adaptive"),
        ({"method": "dopri5", "rtol": 0.1, "atol": 0.1, "steps": 1}, "dopri5 is adaptive"),
        ({"method": "rk4"}, "rk4 takes a fixed number of steps"),
        ({"method": "rk4", "steps": 2, "atol": 0.1}, "rk4 takes a fixed number of steps"),
        ({"method": "rk4", "steps": 0}, "steps"),
        ({"method": "rk4", "steps": MOST_STEPS + 1}, "steps"),
        ({"method": "dopri5", "rtol": 1e-7, "atol": 0.1}, "rtol"),
        ({"method": "dopri5", "rtol": 0.1, "atol": 11}, "atol"),
    ],
)
def test_invalid_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SolverSettings.model_validate(fields)


@pytest.mark.parametrize("values", [{"method": "rk4", "steps": True}, {"method": "dopri5", "rtol": True, "atol": 1.0}])
def test_a_boolean_is_no_number(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="a boolean is no number"):
        SolverSettings.model_validate(values)
