"""The plan of a measurement: when requests are due, and which connection sends which kind."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.serving.plan import Phase, arrivals, kinds_of_connections
from benchmarks.serving.requests import Kind


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 3))
def test_shares_that_are_numbers_of_connections_are_kept(shares: list[int], times: int) -> None:
    kinds = tuple(Kind(str(number), share=share) for number, share in enumerate(shares))
    chosen = kinds_of_connections(kinds, times * sum(shares))
    assert [chosen.count(number) for number in range(len(shares))] == [times * share for share in shares]


def test_arrivals_follow_the_rates_of_their_phases() -> None:
    due = arrivals((Phase(1000, 10), Phase(100, 10)), seed=1)
    assert (np.diff(due) >= 0).all()
    assert due[-1] < 20
    first = (due < 10).sum()
    assert first == pytest.approx(10_000, rel=0.05)
    assert len(due) - first == pytest.approx(1_000, rel=0.15)
    gaps = np.diff(due[:first])
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # a property of the Poisson process
