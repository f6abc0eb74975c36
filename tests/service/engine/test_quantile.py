"""The estimate of a quantile of values that come one after the other."""

import numpy as np
import pytest

from service.engine.quantile import Quantile


@pytest.mark.parametrize("rank", [0.5, 0.95, 0.98])
@pytest.mark.parametrize("start", [0.01, 100.0])
def test_the_estimate_approaches_the_quantile_of_the_values(rank: float, start: float) -> None:
    values = np.random.default_rng(1).exponential(size=20_000)
    quantile, estimates = Quantile(rank, start), []
    for value in values:
        quantile.add(value)
        estimates.append(quantile.value)
    assert np.mean(estimates[10_000:]) == pytest.approx(np.quantile(values, rank), rel=0.15)


def test_the_estimate_follows_values_that_grow() -> None:
    quantile = Quantile(0.95, 1.0)
    for _ in range(100):
        quantile.add(10.0)
    assert quantile.value > 9


def test_the_estimate_has_a_limit() -> None:
    quantile = Quantile(0.95, 1.0, largest=4.0)
    for _ in range(100):
        quantile.add(10.0)
    assert quantile.value == 4.0
