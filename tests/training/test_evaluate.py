"""The error rate and its interval, compared with Wilson's formula."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from training.evaluate import ErrorRate, error_rate

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def wilson(errors: int, rows: int) -> tuple[float, float]:
    """The two roots p of ``(share - p)^2 = z^2 p (1 - p) / rows``, solved by hand."""
    share = errors / rows
    centre = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * math.sqrt(share * (1 - share) / rows + Z**2 / (4 * rows**2))
    return centre - half, centre + half


@examples(4)
@given(st.integers(1, 100_000).flatmap(lambda rows: st.tuples(st.integers(0, rows), st.just(rows))))
def test_the_interval_equals_wilsons_formula(counts: tuple[int, int]) -> None:
    measured = ErrorRate(*counts)
    low, high = measured.interval
    assert (low, high) == pytest.approx(wilson(*counts), abs=1e-9)
    assert 0 <= low <= measured.rate <= high <= 1


def test_the_interval_of_10_errors_in_100() -> None:
    """Textbooks give 5.52 % to 17.44 %."""
    assert ErrorRate(10, 100).interval == pytest.approx((0.0552, 0.1744), abs=5e-5)


def test_error_rate_counts_the_digits_that_differ() -> None:
    measured = error_rate(np.array([1, 2, 3, 4]), np.array([1, 2, 4, 3]))
    assert (measured.errors, measured.rows, measured.rate) == (2, 4, 0.5)


def test_an_error_rate_as_text() -> None:
    assert str(ErrorRate(1200, 10_000)) == "12.00% (1,200 of 10,000; 95 % interval 11.38% to 12.65%)"
