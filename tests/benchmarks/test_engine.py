"""The benchmark of the engine separates the kernels from Python."""

import pytest

from benchmarks.engine import measure
from tests.serving import SHIPPED


@pytest.mark.parametrize("callers", [1, 4])
def test_the_kernels_are_most_of_the_cost_and_not_all_of_it(callers: int) -> None:
    cost = measure(SHIPPED, callers, images=40)
    assert cost.kernels > cost.python > 0
    assert cost.iterations == pytest.approx(1 / callers, abs=0.3), "most digits take one iteration by default"
