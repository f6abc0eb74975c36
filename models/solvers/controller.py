"""The step-size controller: it computes the size of the next step from the error of this step."""

import torch
from torch import Tensor

SAFETY = 0.9
SMALLEST_FACTOR = 0.2
LARGEST_FACTOR = 10.0


def error_ratio(error: Tensor, z: Tensor, z_next: Tensor, rtol: Tensor, atol: Tensor) -> Tensor:
    """The ratio of the local error of each row to its allowed error, as a root mean square over the row.

    Args:
        error: the local error estimate, ``[rows, ...]``.
        z: the state before the step, of the same shape.
        z_next: the state after the step, of the same shape.
        rtol: relative tolerance, ``[rows]``.
        atol: absolute tolerance, ``[rows]``.

    Returns:
        ``[rows]``. A step may be accepted if its ratio is at most 1 (Hairer, Norsett, Wanner I, eq. II.4.11).
    """
    scale = per_row(atol, z) + per_row(rtol, z) * torch.maximum(z.abs(), z_next.abs())
    return root_mean_square(error / scale)


def next_step_size(h: Tensor, ratio: Tensor, exponent: float) -> Tensor:
    """The elementary controller: ``h * safety * ratio^(-1/exponent)``, within bounds.

    The source is Hairer, Norsett, Wanner I, eq. II.4.13. If the ratio is not finite, the step is multiplied by the
    smallest factor.

    Args:
        h: the size of the step that was attempted, ``[rows]``.
        ratio: the error ratio of this step, ``[rows]``.
        exponent: the error estimate is proportional to this power of h.
    """
    factor = (SAFETY * ratio ** (-1.0 / exponent)).clamp(SMALLEST_FACTOR, LARGEST_FACTOR)
    return h * torch.where(torch.isfinite(ratio), factor, SMALLEST_FACTOR)


def root_mean_square(x: Tensor) -> Tensor:
    """The root mean square of each row: ``[rows, ...]`` becomes ``[rows]``."""
    return x.flatten(1).square().mean(1).sqrt()


def per_row(value: Tensor, like: Tensor) -> Tensor:
    """Reshape one value per row, ``[rows]``, so that it broadcasts against ``[rows, ...]``."""
    return value.view(-1, *[1] * (like.dim() - 1))
