"""The gradient of a solve by the adjoint equation (Chen et al. 2018, arXiv 1806.07366, appendix B).

Differentiation through a solver keeps every stage of every step in memory until the backward pass. The adjoint
``a(t) = dL/dz(t)`` satisfies an ODE, ``da/dt = -a^T df/dz``. The backward pass solves this ODE from t1 back to t0,
together with z and with the integral of ``a^T df/dtheta``, which is the gradient of the parameters. The memory does not
grow with the number of steps.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from models.solvers.solve import Observer, Outcome, Solution, solve
from models.solvers.step import Step

ADJOINT_SIZE = 0.01
"""The adjoint is scaled to this root mean square at t1. The equation is linear in the adjoint, so the scale affects
only the choice of the step sizes: it sets how much the adjoint's error counts beside the state's error. A greater scale
spends more evaluations on the kinks of the rectifiers, where the equation is not smooth."""

BackwardObserver = Callable[[Solution], None]
"""Called after each backward pass with its solution. In this solution the whole batch is one row."""


class SolveError(ArithmeticError):
    """A forward or backward solve was given up, so there is no gradient; the message names the solve and the reason."""


def solve_with_adjoint(
    step: Step,
    z: Tensor,
    *,
    rtol: float | None,
    atol: float | None,
    first_step: float | None = None,
    observe: Observer | None = None,
    observe_backward: BackwardObserver | None = None,
) -> Solution:
    """Solve from 0 to 1 like `solve`; the gradient of the solution's z comes from the adjoint equation.

    The backward solve treats the batch as one row: the gradient of the parameters is a sum over the batch, so all rows
    share the backward steps.

    Args:
        step: the method applied to the dynamics, used in both directions.
        z: the states at t = 0, ``[rows, ...]``.
        rtol: relative tolerance, used in both directions.
        atol: absolute tolerance, used in both directions.
        first_step: the first step to attempt in each direction, see `solve`.
        observe: called after each attempt of the forward solve.
        observe_backward: called after each backward pass.

    Raises:
        SolveError: a row did not reach t = 1, or, in the backward pass, the adjoint equation did not reach t = 0.
    """
    arguments = {"rtol": rtol, "atol": atol, "first_step": first_step}
    parameters = [parameter for parameter in step.dynamics.parameters() if parameter.requires_grad]
    return Solution(*_Adjoint.apply(step, arguments, observe, observe_backward, z, *parameters))  # type: ignore[no-untyped-call]


class _Adjoint(torch.autograd.Function):
    """The solve as one autograd operation. It saves only the state at the end for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        step: Step,
        arguments: dict[str, Any],
        observe: Observer | None,
        observe_backward: Any,
        z: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        solution = solve(step, z, **arguments, observe=observe)
        if given_up := int((solution.outcome != Outcome.converged).sum()):
            raise SolveError(f"the forward solve was given up for {given_up} of {len(z)} rows")
        ctx.save_for_backward(solution.z, *parameters)
        ctx.mark_non_differentiable(*solution[1:])
        ctx.step, ctx.arguments, ctx.observe = step, arguments, observe_backward
        device = z.device.type
        ctx.autocast = torch.autocast(device, torch.get_autocast_dtype(device), torch.is_autocast_enabled(device))
        return tuple(solution)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        z, *parameters = ctx.saved_tensors
        tiny = torch.finfo(gradient.dtype).tiny  # avoids 0 / 0 for a zero gradient
        scale = (_size(gradient) / ADJOINT_SIZE).clamp(min=tiny)
        backwards = _Backwards(ctx.step.dynamics, ctx.step.t1, z.shape, parameters)
        start = torch.cat(
            [z.flatten(), (gradient / scale).flatten(), *(torch.zeros_like(p).flatten() for p in parameters)]
        )
        with ctx.autocast:
            step = Step(backwards, ctx.step.tableau, ctx.step.t1)
            solution = solve(step, start.unsqueeze(0), **ctx.arguments)
        if (outcome := Outcome(int(solution.outcome))) is not Outcome.converged:
            raise SolveError(f"the adjoint equation was given up after {int(solution.steps)} steps: {outcome.name}")
        if ctx.observe is not None:
            ctx.observe(solution)
        _z, a, *gradients = backwards.parts(solution.z)
        return None, None, None, None, a * scale, *(part * scale for part in gradients)


def _size(gradient: Tensor) -> Tensor:
    """The root mean square of all numbers of a gradient, a scalar.

    The squares of very small or very large numbers would leave the range of their type. So the gradient is first
    multiplied by a power of two, which changes no bit of the result otherwise.
    """
    _, exponent = torch.frexp(gradient.abs().max())
    exponent = exponent.clamp(-100, 100)  # the power itself must be within the range of float32
    return torch.ldexp(torch.ldexp(gradient, -exponent).square().mean().sqrt(), exponent)


class _Backwards(nn.Module):
    """The dynamics of the backward solve, as a function of the reversed time s = t1 - t.

    One row holds the state, the adjoint and the gradients of the parameters, one after the other.
    """

    def __init__(self, dynamics: nn.Module, t1: float, shape: torch.Size, parameters: list[Tensor]) -> None:
        super().__init__()
        self.dynamics = dynamics
        self.t1 = t1
        self._parameters_to_fit = parameters
        self._shapes = [shape, shape, *(parameter.shape for parameter in parameters)]

    def parts(self, row: Tensor) -> list[Tensor]:
        """Split a row into the state, the adjoint and the gradient of each parameter."""
        pieces: tuple[Tensor, ...] = row[0].split_with_sizes([shape.numel() for shape in self._shapes])
        return [piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)]

    def forward(self, s: Tensor, row: Tensor) -> Tensor:
        z, a, *_ = self.parts(row)
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            derivative = self.dynamics((self.t1 - s).expand(len(z)), z)
            slopes = torch.autograd.grad(
                derivative,
                (z, *self._parameters_to_fit),
                a.to(derivative.dtype),
                allow_unused=True,
                materialize_grads=True,
            )
        row_derivative = torch.cat([-derivative.detach().flatten(), *(slope.flatten() for slope in slopes)])
        return row_derivative.to(row.dtype).unsqueeze(0)
