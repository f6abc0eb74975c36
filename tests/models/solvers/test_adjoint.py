"""The gradient by the adjoint equation: it is correct, and its memory does not grow with the number of steps."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchdiffeq
from torch import Tensor, nn
from torch.testing import assert_close

from models.solvers.adjoint import SolveError, solve_with_adjoint
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.solve import Outcome, Solution, solve
from models.solvers.step import Step
from training.cost import count_activations

F64 = torch.float64

every_method = pytest.mark.parametrize("method", METHODS)


class Smooth(nn.Module):
    """z' = V tanh(W [t, z] + b). The module records the types in which it computes."""

    def __init__(self, size: int = 3, dtype: torch.dtype = F64) -> None:
        super().__init__()
        self.inner = nn.Linear(size + 1, size, dtype=dtype)
        self.outer = nn.Linear(size, size, bias=False, dtype=dtype)
        self.computed_in = set[torch.dtype]()

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        derivative: Tensor = self.outer(torch.tanh(self.inner(torch.cat((t.unsqueeze(1), z), dim=1))))
        self.computed_in.add(derivative.dtype)
        return derivative


class Scaled(nn.Module):
    """z' = w g(t, z) with one weight w."""

    def __init__(self, g: Callable[[Tensor, Tensor], Tensor], weight: float = 1.0) -> None:
        super().__init__()
        self.g = g
        self.weight = nn.Parameter(torch.tensor(weight, dtype=F64))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return self.weight * self.g(t, z)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


def states(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=F64, requires_grad=True)


def gradients(solution: Solution, z: Tensor, dynamics: nn.Module) -> tuple[Tensor, ...]:
    """The gradients of a function of the final state, by the initial state and by the weights."""
    return torch.autograd.grad(solution.z.sin().sum(), (z, *dynamics.parameters()))


@pytest.mark.parametrize(
    ("method", "tolerance", "first_step", "agreement"),
    [
        ("euler", 0.0, 1 / 300, 3e-2),
        ("midpoint", 0.0, 1 / 100, 1e-4),
        ("rk4", 0.0, 1 / 50, 1e-8),
        ("heun2", 1e-6, None, 1e-4),
        ("bosh3", 1e-8, None, 1e-6),
        ("dopri5", 1e-11, None, 1e-8),
        ("tsit5", 1e-11, None, 1e-8),
    ],
)
def test_the_gradient_agrees_with_the_gradient_through_the_solver(
    method: str, tolerance: float, first_step: float | None, agreement: float
) -> None:
    """The two gradients differ only by the errors of the solves."""
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3], [0.2, 2.0, -1.0])
    step = Step(dynamics, METHODS[method])
    direct, adjoint = (
        gradients(by(step, z, rtol=tolerance, atol=tolerance, first_step=first_step), z, dynamics)
        for by in (solve, solve_with_adjoint)
    )
    assert min(float(gradient.abs().max()) for gradient in direct) > 0.01, (
        "this test needs gradients that are not near zero"
    )
    assert_close(adjoint, direct, rtol=agreement, atol=agreement)


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_the_gradient_with_equal_steps_converges_with_the_order_of_the_method(method: str, order: int) -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    step, distances = Step(dynamics, METHODS[method]), []
    for steps in (10, 20, 40):
        direct, adjoint = (
            torch.cat([g.flatten() for g in gradients(by(step, z, rtol=0, atol=0, first_step=1 / steps), z, dynamics)])
            for by in (solve, solve_with_adjoint)
        )
        distances.append(float((direct - adjoint).norm()))
    assert distances[0] / distances[1] == pytest.approx(2**order, rel=0.3)
    assert distances[1] / distances[2] == pytest.approx(2**order, rel=0.3)


def test_the_gradient_agrees_with_torchdiffeq() -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    solution = solve_with_adjoint(Step(dynamics, METHODS["dopri5"]), z, rtol=1e-10, atol=1e-10)
    flow = torchdiffeq.odeint_adjoint(
        lambda t, z: dynamics(t.expand(1), z),
        z,
        torch.tensor([0.0, 1.0], dtype=F64),
        rtol=1e-10,
        atol=1e-10,
        adjoint_params=tuple(dynamics.parameters()),
    )
    assert_close(solution.z, flow[-1], rtol=1e-8, atol=1e-8)
    theirs = torch.autograd.grad(flow[-1].sin().sum(), (z, *dynamics.parameters()))
    assert_close(gradients(solution, z, dynamics), theirs, rtol=1e-7, atol=1e-7)


@every_method
@pytest.mark.parametrize("weight", [1.5, -1.5])
def test_the_gradient_agrees_with_a_closed_solution(method: str, weight: float) -> None:
    """z' = w t z ends at z0 e^(w/2). The derivative by z0 is e^(w/2); by w it is z0 e^(w/2) / 2, summed over rows."""
    dynamics, z = Scaled(lambda t, z: t.view(-1, 1) * z, weight), states([1.0, 2.0], [-0.5, 3.0])
    tolerance = 1e-4 if METHODS[method].adaptive else 0.0
    first_step = None if METHODS[method].adaptive else 1 / 128
    solution = solve_with_adjoint(
        Step(dynamics, METHODS[method]), z, rtol=tolerance, atol=tolerance, first_step=first_step
    )
    by_z, by_weight = torch.autograd.grad(solution.z.sum(), (z, dynamics.weight))
    assert_close(by_z, torch.full_like(z, math.exp(weight / 2)), rtol=1e-2, atol=0)
    assert by_weight.item() == pytest.approx(5.5 / 2 * math.exp(weight / 2), rel=1e-2)


def test_the_gradients_of_a_batch_combine_those_of_its_rows() -> None:
    """Each row has its own gradient by the state, and the gradients by the weights are summed over the rows."""
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3], [0.2, 2.0, -1.0], [0.0, 0.0, 4.0])
    step = Step(dynamics, METHODS["dopri5"])

    def gradients_of(rows: Tensor) -> tuple[Tensor, ...]:
        return gradients(solve_with_adjoint(step, rows, rtol=1e-10, atol=1e-10), rows, dynamics)

    by_z, *by_weights = gradients_of(z)
    each = [gradients_of(row.unsqueeze(0)) for row in z]
    assert_close(by_z, torch.cat([gradient[0] for gradient in each]), rtol=1e-7, atol=1e-7)
    for index, by_weight in enumerate(by_weights, 1):
        assert_close(by_weight, sum(gradient[index] for gradient in each), rtol=1e-7, atol=1e-7)


@every_method
def test_the_solution_equals_that_of_the_plain_solve(method: str) -> None:
    """This includes the counts and the observed attempts. Only the state can be differentiated."""
    dynamics, z = Smooth(), states([5.0, -5.0, 3.0], [0.1, 0.0, 0.0])
    first_step = None if METHODS[method].adaptive else 0.2
    seen: dict[str, list[Tensor]] = {"solve": [], "adjoint": []}

    def note(attempts: list[Tensor]) -> Callable[[Tensor, Tensor, Tensor, Attempt], None]:
        return lambda rows, t, h, tried: attempts.append(tried.t)

    step = Step(dynamics, METHODS[method])
    plain = solve(step, z, rtol=1e-4, atol=1e-4, first_step=first_step, observe=note(seen["solve"]))
    solution = solve_with_adjoint(step, z, rtol=1e-4, atol=1e-4, first_step=first_step, observe=note(seen["adjoint"]))
    solution.z.sum().backward()
    for name, column, expected in zip(Solution._fields, solution, plain, strict=True):
        assert torch.equal(column, expected), name
        assert column.requires_grad == (name == "z"), name
    assert solution.steps.max() > 1
    assert_close(seen["adjoint"], seen["solve"], rtol=0, atol=0)


@every_method
def test_the_observer_sees_each_backward_pass(method: str) -> None:
    """The observer sees the solve of one row, which contains the whole batch."""
    dynamics, z, seen = Smooth(), states([1.0, -0.5, 0.3], [0.2, 2.0, -1.0]), list[Solution]()
    tableau, first_step = METHODS[method], None if METHODS[method].adaptive else 0.25
    solution = solve_with_adjoint(
        Step(dynamics, tableau), z, rtol=1e-4, atol=1e-4, first_step=first_step, observe_backward=seen.append
    )
    assert seen == []
    once, again = (torch.autograd.grad(solution.z.sum(), z, retain_graph=True) for _ in range(2))
    assert_close(once, again, rtol=0, atol=0)
    assert len(seen) == 2
    for backward in seen:
        assert backward.outcome.tolist() == [Outcome.converged]
        steps = int(backward.steps)
        assert steps == 4 if first_step else steps > 0
        assert int(backward.nfe) == tableau.evaluations_to_start + steps * tableau.evaluations_per_step


def test_scaling_the_loss_scales_the_gradient_and_does_not_change_the_steps() -> None:
    """The equation is linear in the adjoint, so a million times the loss has a million times the gradient."""
    dynamics, z, seen = Smooth(), states([1.0, -0.5, 0.3]), list[Solution]()
    solution = solve_with_adjoint(
        Step(dynamics, METHODS["bosh3"]), z, rtol=1e-4, atol=1e-4, observe_backward=seen.append
    )
    of_one, of_a_million = (
        torch.autograd.grad(size * solution.z.sum(), (z, *dynamics.parameters()), retain_graph=True)
        for size in (1.0, 1e6)
    )
    assert_close(of_a_million, tuple(1e6 * gradient for gradient in of_one))
    assert int(seen[0].steps) == int(seen[1].steps)


@pytest.mark.parametrize("size", [1e-25, 1e25])
def test_the_square_of_a_gradient_may_leave_the_range_of_its_type(size: float) -> None:
    """In float32, the squares of these gradients are 0 or infinite."""
    dynamics, z = Smooth(dtype=torch.float32), states([1.0, -0.5, 0.3]).float().detach().requires_grad_()
    solution = solve_with_adjoint(Step(dynamics, METHODS["bosh3"]), z, rtol=1e-4, atol=1e-4)
    of_one, scaled = (
        torch.autograd.grad(factor * solution.z.sum(), (z, *dynamics.parameters()), retain_graph=True)
        for factor in (1.0, size)
    )
    assert_close(tuple(gradient / size for gradient in scaled), of_one, rtol=1e-4, atol=1e-5)


def test_a_loss_that_does_not_depend_on_the_solution_has_a_zero_gradient() -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    solution = solve_with_adjoint(Step(dynamics, METHODS["bosh3"]), z, rtol=1e-4, atol=1e-4)
    for gradient in torch.autograd.grad((0 * solution.z).sum(), (z, *dynamics.parameters())):
        assert not gradient.any()


@pytest.mark.parametrize("method", ["rk4", "bosh3"])
def test_the_backward_solve_uses_the_autocast_type_of_the_forward_solve(method: str) -> None:
    """This holds although the backward pass starts outside autocast. The state and the gradients stay in float32."""
    dynamics, z = Smooth(8, torch.float32), torch.randn(4, 8, requires_grad=True)
    tableau = METHODS[method]
    arguments: dict[str, Any] = {"rtol": 1e-2, "atol": 1e-2, "first_step": None if tableau.adaptive else 0.5}
    step = Step(dynamics, tableau)
    exact = gradients(solve_with_adjoint(step, z, **arguments), z, dynamics)
    assert dynamics.computed_in == {torch.float32}
    dynamics.computed_in.clear()
    with torch.autocast("cpu", torch.bfloat16):
        solution = solve_with_adjoint(step, z, **arguments)
    assert dynamics.computed_in == {torch.bfloat16}
    dynamics.computed_in.clear()
    rounded = gradients(solution, z, dynamics)
    assert dynamics.computed_in == {torch.bfloat16}
    assert {part.dtype for part in (solution.z, *rounded)} == {torch.float32}
    assert_close(rounded, exact, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("method", ["dopri5", "tsit5"])
def test_a_backward_solve_that_diverges_is_an_error(method: str) -> None:
    """z' = -e^z falls from 10 to just below 0, and within the tolerance a solve may end just above 0.

    The solution through an end above 0 diverges, backwards in time, before t = 0.
    """
    dynamics, z = Scaled(lambda t, z: -torch.exp(z)), states([10.0])
    solution = solve_with_adjoint(Step(dynamics, METHODS[method]), z, rtol=1e-3, atol=1e-3)
    assert solution.outcome.tolist() == [Outcome.converged]
    assert 0 < solution.z.item() < 1e-3, "this test needs a solve that ends just above 0"
    with pytest.raises(SolveError, match=r"the adjoint equation was given up after \d+ steps: non_finite"):
        solution.z.sum().backward()
    assert z.grad is None
    assert dynamics.weight.grad is None


def test_a_gradient_that_is_not_a_number_is_an_error() -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    solution = solve_with_adjoint(Step(dynamics, METHODS["bosh3"]), z, rtol=1e-3, atol=1e-3)
    with pytest.raises(SolveError, match="non_finite"):
        (math.nan * solution.z).sum().backward()


def test_the_memory_does_not_grow_with_the_number_of_steps() -> None:
    """Through the solver, each step adds the same amount of memory."""
    dynamics, z = Smooth(16), torch.randn(32, 16, dtype=F64, requires_grad=True)
    step, peaks = Step(dynamics, METHODS["rk4"]), dict[str, list[int]]()
    for by in (solve, solve_with_adjoint):
        for steps in (2, 3, 4, 5, 16):
            with count_activations() as activations:
                gradients(by(step, z, rtol=0, atol=0, first_step=1 / steps), z, dynamics)
            peaks.setdefault(by.__name__, []).append(activations.peak)
    two, three, four, five, sixteen = peaks["solve"]
    assert three - two == four - three == five - four == (sixteen - five) / 11
    assert three - two > 4 * z.nbytes, "a step of rk4 keeps at least its four stages"
    assert len(set(peaks["solve_with_adjoint"])) == 1
    assert peaks["solve_with_adjoint"][0] < two


def test_frozen_parameters_get_no_gradient() -> None:
    """The gradients of the other parameters do not change."""
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    step = Step(dynamics, METHODS["dopri5"])
    _, _, _, expected = gradients(solve_with_adjoint(step, z, rtol=1e-8, atol=1e-8), z, dynamics)
    dynamics.inner.requires_grad_(False)
    solve_with_adjoint(step, z, rtol=1e-8, atol=1e-8).z.sin().sum().backward()
    assert [parameter.grad for parameter in dynamics.inner.parameters()] == [None, None]
    assert dynamics.outer.weight.grad is not None
    assert_close(dynamics.outer.weight.grad, expected, rtol=1e-6, atol=1e-6)


def test_the_state_has_a_gradient_if_all_parameters_are_frozen() -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    step = Step(dynamics, METHODS["dopri5"])
    expected, *_ = gradients(solve(step, z, rtol=1e-8, atol=1e-8), z, dynamics)
    dynamics.requires_grad_(False)
    (gradient,) = gradients(solve_with_adjoint(step, z, rtol=1e-8, atol=1e-8), z, nn.Identity())
    assert_close(gradient, expected, rtol=1e-6, atol=1e-6)
    assert not solve_with_adjoint(step, z.detach(), rtol=1e-8, atol=1e-8).z.requires_grad


def test_a_second_derivative_is_an_error() -> None:
    dynamics, z = Smooth(), states([1.0, -0.5, 0.3])
    solution = solve_with_adjoint(Step(dynamics, METHODS["rk4"]), z, rtol=0, atol=0, first_step=0.5)
    (gradient,) = torch.autograd.grad(solution.z.sin().sum(), z, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()  # type: ignore[no-untyped-call]
