"""The benchmark of the engine separates the kernels from Python."""

import gc
from collections.abc import Iterator

import pytest

from benchmarks.engine import measure
from tests.serving import SHIPPED


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """Garbage collection would count as Python, and would take as long as the objects of all other tests need."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("callers", [1, 4])
def test_the_kernels_are_most_of_the_cost_and_not_all_of_it(callers: int) -> None:
    cost = measure(SHIPPED, callers, images=40)
    assert cost.kernels > cost.python > 0
    assert cost.iterations == pytest.approx(1 / callers, abs=0.3), "most digits take one iteration by default"
