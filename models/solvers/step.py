"""One attempted Runge-Kutta step for a batch of rows. No other module computes a step.

The solve loop repeats this step, the export writes it as an ONNX graph, and the portable graph repeats it in an ONNX
loop.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.solvers.attempt import Attempt, is_last
from models.solvers.controller import error_ratio, next_step_size, per_row, root_mean_square
from models.solvers.tableau import Tableau


class Step(nn.Module):
    """Attempts one step of ``dz/dt = f(t, z)``. Every row has its own time, step size and tolerance.

    Args:
        dynamics: f, called as ``f(t, z)`` with t of shape ``[rows]`` and z of shape ``[rows, ...]``.
        tableau: the method.
        t1: the end of the interval. The last step is shortened to end at t1, and f is never evaluated beyond t1.
    """

    def __init__(self, dynamics: nn.Module, tableau: Tableau, t1: float = 1.0) -> None:
        super().__init__()
        self.dynamics = dynamics
        self.tableau = tableau
        self.t1 = t1

    def forward(self, z: Tensor, k1: Tensor, t: Tensor, h: Tensor, rtol: Tensor, atol: Tensor) -> Attempt:
        """Attempt a step of size h, or of size ``t1 - t`` if a step of size h goes (almost) to t1, see `is_last`.

        Args:
            z: the state, ``[rows, ...]``.
            k1: ``f(t, z)`` for an FSAL method. Any other method ignores this argument and evaluates ``f(t, z)`` itself.
            t: the time, ``[rows]``.
            h: the size of the step to attempt, ``[rows]``.
            rtol: relative tolerance, ``[rows]``; a fixed-step method ignores it.
            atol: absolute tolerance, ``[rows]``; a fixed-step method ignores it.
        """
        last = is_last(t, h, self.t1)
        width = torch.where(last, self.t1 - t, h)
        t_next = torch.where(last, self.t1, t + h)

        if not self.tableau.fsal:
            k1 = self.dynamics(t, z)
        stages, z_next = self._stages(z, k1, t, width)
        finite = torch.isfinite(z_next).flatten(1).all(1)
        if self.tableau.adaptive:
            difference = per_row(width, z) * _weighted_sum(self.tableau.error_weights, stages)
            # The gradient must not go through the step sizes, and the square root has no derivative at zero.
            ratio = error_ratio(difference, z, z_next, rtol, atol).detach().where(finite, torch.nan)
            accepted = ratio <= 1
            h_next = next_step_size(width, ratio, self.tableau.error_exponent)
            error = root_mean_square(difference).where(finite, torch.nan)
        else:
            accepted = finite
            h_next = torch.where(finite, h, 0.0)  # a fixed-step method cannot try a smaller step
            error = torch.zeros_like(h).where(finite, torch.nan)
        moved = per_row(accepted, z)
        return Attempt(
            z=torch.where(moved, z_next, z),
            k1=torch.where(moved, stages[-1], k1) if self.tableau.fsal else k1,
            t=torch.where(accepted, t_next, t),
            h=h_next,
            error=error,
            accepted=accepted,
        )

    def _stages(self, z: Tensor, k1: Tensor, t: Tensor, width: Tensor) -> tuple[list[Tensor], Tensor]:
        """All stages, and the state after the step. In an FSAL method this state is the argument of the last stage."""
        tableau = self.tableau
        stages, argument, row_width = [k1], z, per_row(width, z)
        for a, c in zip(tableau.a[1:], tableau.c[1:], strict=True):
            argument = z + row_width * _weighted_sum(a, stages)
            stages.append(self.dynamics(t + c * width, argument))
        if tableau.fsal:
            return stages, argument
        return stages, z + row_width * _weighted_sum(tableau.b, stages)


def _weighted_sum(weights: Sequence[float], stages: Sequence[Tensor]) -> Tensor:
    """The weighted sum of the stages. A stage with weight zero is skipped."""
    (weight, first), *others = ((w, k) for w, k in zip(weights, stages, strict=True) if w != 0)
    total = first if weight == 1 else weight * first
    for weight, k in others:
        total = torch.add(total, k, alpha=weight)
    return total
