"""The step-size controller, with numbers that can be checked by hand."""

import math

import pytest
import torch
from torch.testing import assert_close

from models.solvers.controller import (
    LARGEST_FACTOR,
    SAFETY,
    SMALLEST_FACTOR,
    error_ratio,
    next_step_size,
    per_row,
    root_mean_square,
)


def test_root_mean_square_averages_over_all_axes_except_the_first() -> None:
    x = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[-1.0, 1.0], [1.0, -1.0]]])
    assert_close(root_mean_square(x), torch.tensor([2.5, 1.0]))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4, 5)])
def test_per_row_broadcasts_along_the_first_axis(shape: tuple[int, ...]) -> None:
    scaled = per_row(torch.tensor([1.0, 2.0, 3.0]), torch.ones(shape)) * torch.ones(shape)
    assert_close(scaled.reshape(3, -1)[:, 0], torch.tensor([1.0, 2.0, 3.0]))
    assert scaled.shape == shape


@pytest.mark.parametrize(
    ("error", "z", "z_next", "rtol", "atol", "ratio"),
    [
        pytest.param([0.5], [9.0], [7.0], 0.0, 0.25, 2.0, id="absolute tolerance alone"),
        pytest.param([0.5], [-2.0], [1.0], 0.5, 0.0, 0.5, id="relative to the larger, which is the old state"),
        pytest.param([0.5], [1.0], [-4.0], 0.5, 0.0, 0.25, id="relative to the larger, which is the new state"),
        pytest.param([0.3], [2.0], [2.0], 0.1, 0.1, 1.0, id="the two allowed errors are added"),
        pytest.param([3.0, -4.0], [0.0, 0.0], [0.0, 0.0], 0.0, 1.0, math.sqrt(12.5), id="root mean square"),
        pytest.param([1.0, 4.0], [1.0, 4.0], [1.0, 4.0], 1.0, 0.0, 1.0, id="each component relative to its own size"),
    ],
)
def test_error_ratio(
    error: list[float], z: list[float], z_next: list[float], rtol: float, atol: float, ratio: float
) -> None:
    result = error_ratio(
        torch.tensor([error]), torch.tensor([z]), torch.tensor([z_next]), torch.tensor([rtol]), torch.tensor([atol])
    )
    assert_close(result, torch.tensor([ratio]))


def test_each_row_has_its_own_tolerance() -> None:
    ones = torch.ones(3, 2)
    ratio = error_ratio(ones, ones, ones, torch.tensor([1.0, 0.0, 0.5]), torch.tensor([0.0, 0.1, 0.5]))
    assert_close(ratio, torch.tensor([1.0, 10.0, 1.0]))


@pytest.mark.parametrize(
    ("ratio", "exponent", "factor"),
    [
        pytest.param(1.0, 2, SAFETY, id="error equal to the allowed error"),
        pytest.param(1 / 16, 2, SAFETY * 4, id="grows with the square root"),
        pytest.param(1 / 16, 4, SAFETY * 2, id="grows with the fourth root"),
        pytest.param(8.0, 3, SAFETY / 2, id="shrinks with the cube root"),
        pytest.param(1e9, 3, SMALLEST_FACTOR, id="shrinks at most by the smallest factor"),
        pytest.param(1e-9, 3, LARGEST_FACTOR, id="grows at most by the largest factor"),
        pytest.param(0.0, 5, LARGEST_FACTOR, id="zero error"),
        pytest.param(math.inf, 5, SMALLEST_FACTOR, id="infinite error"),
        pytest.param(math.nan, 5, SMALLEST_FACTOR, id="error that is not a number"),
    ],
)
def test_next_step_size(ratio: float, exponent: float, factor: float) -> None:
    h = torch.tensor([0.5], dtype=torch.float64)
    assert_close(next_step_size(h, torch.full_like(h, ratio), exponent), h * factor)
