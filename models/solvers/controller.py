"""The step-size controller: how large the next step may be, given the error of this one."""

import torch
from torch import Tensor

SAFETY = 0.9
SMALLEST_FACTOR = 0.2
LARGEST_FACTOR = 10.0


def error_ratio(error: Tensor, z: Tensor, z_next: Tensor, rtol: Tensor, atol: Tensor) -> Tensor:
    """The local error of each row against what its tolerances allow, as a root mean square over the row.

    Args:
        error: the local error estimate, ``[rows, ...]``.
        z: the state before the step, of the same shape.
        z_next: the state after it.
        rtol: relative tolerance, ``[rows]``.
        atol: absolute tolerance, ``[rows]``.

    Returns:
        ``[rows]``; at most 1 where the step may be accepted (Hairer, Norsett, Wanner I, eq. II.4.11).
    """
    scale = per_row(atol, z) + per_row(rtol, z) * torch.maximum(z.abs(), z_next.abs())
    return root_mean_square(error / scale)


def next_step_size(h: Tensor, ratio: Tensor, exponent: float) -> Tensor:
    """The elementary controller: ``h * safety * ratio^(-1/exponent)``, within bounds (same source, eq. II.4.13).

    A ratio that is not finite shrinks the step as far as one attempt may.

    Args:
        h: the step just attempted, ``[rows]``.
        ratio: its error ratio, ``[rows]``.
        exponent: the power of h with which the error estimate shrinks.
    """
    factor = (SAFETY * ratio ** (-1.0 / exponent)).clamp(SMALLEST_FACTOR, LARGEST_FACTOR)
    return h * torch.where(torch.isfinite(ratio), factor, SMALLEST_FACTOR)


def root_mean_square(x: Tensor) -> Tensor:
    """``[rows, ...]`` to ``[rows]``: the root mean square over everything but the row."""
    return x.flatten(1).square().mean(1).sqrt()


def per_row(value: Tensor, like: Tensor) -> Tensor:
    """A value per row, ``[rows]``, shaped to broadcast against ``[rows, ...]``."""
    return value.view(-1, *[1] * (like.dim() - 1))
