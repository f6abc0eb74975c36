"""Gradients through the solve, by the weights of the dynamics and by the initial state."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from models.solvers.methods import METHODS
from models.solvers.solve import Outcome, solve
from models.solvers.step import Step

F64 = torch.float64

every_method = pytest.mark.parametrize("method", METHODS)


class Layer(nn.Module):
    """z' = tanh(W [t, z]) with given weights W."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.tanh(torch.cat((t.unsqueeze(1), z), dim=1) @ self.weight.T)


class Scaled(nn.Module):
    """z' = w g(t, z) with one weight w."""

    def __init__(self, g: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.g = g
        self.weight = nn.Parameter(torch.ones((), dtype=F64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.weight * self.g(t, z)


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [("euler", 0), ("midpoint", 0), ("rk4", 0), ("heun2", 1e-4), ("bosh3", 1e-5), ("dopri5", 1e-6), ("tsit5", 1e-6)],
)
def test_gradients_agree_with_finite_differences(method: str, tolerance: float) -> None:
    """The gradients are taken by the weights and by the initial state, over rows that take different steps."""
    weight = torch.tensor([[1.0, -3.0, 2.0], [-2.0, 4.0, -1.0]], dtype=F64, requires_grad=True)
    z = torch.tensor([[0.5, -0.2], [-0.3, 0.6]], dtype=F64, requires_grad=True)
    tableau = METHODS[method]
    first_step = torch.tensor([1.0, 0.5] if tableau.adaptive else [0.25, 0.2], dtype=F64)

    def end(weight: Tensor, z: Tensor) -> Tensor:
        solution = solve(Step(Layer(weight), tableau), z, rtol=tolerance, atol=tolerance, first_step=first_step)
        assert solution.outcome.tolist() == [Outcome.converged] * 2
        assert solution.steps.min() > 1
        assert solution.steps[0] != solution.steps[1]
        return torch.as_tensor(solution.z)

    assert gradcheck(end, (weight, z))


@every_method
def test_gradients_agree_with_the_exact_solution(method: str) -> None:
    """The exact solution is z(1) = e^w, and its derivative by w is e^w."""
    dynamics = Scaled(lambda t, z: z)
    z = torch.ones(1, 1, dtype=F64)
    solution = solve(Step(dynamics, METHODS[method]), z, rtol=1e-5, atol=1e-5, first_step=1 / 256)
    (gradient,) = torch.autograd.grad(solution.z.sum(), dynamics.weight)
    assert gradient.item() == pytest.approx(torch.e, rel=1e-2)


@every_method
def test_gradients_are_finite_if_a_step_has_no_error(method: str) -> None:
    """A constant derivative is integrated without error, and the square root of zero has no derivative."""
    dynamics = Scaled(lambda t, z: torch.ones_like(z))
    solution = solve(Step(dynamics, METHODS[method]), torch.zeros(2, 3, dtype=F64), first_step=0.05)
    (gradient,) = torch.autograd.grad(solution.z.sum(), dynamics.weight)
    assert gradient.item() == pytest.approx(6)


@every_method
def test_a_row_has_no_influence_on_the_gradient_of_another(method: str) -> None:
    """This also holds for a row whose solve fails."""
    z = torch.tensor([[0.5], [torch.nan], [2.0]], dtype=F64, requires_grad=True)
    solution = solve(Step(Scaled(lambda t, z: -z), METHODS[method]), z, first_step=0.5)
    (gradient,) = torch.autograd.grad(solution.z[0].sum(), z)
    assert gradient[0].item() > 0
    assert gradient[2].item() == 0
