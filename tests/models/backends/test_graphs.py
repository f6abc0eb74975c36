"""Functions in buckets: everything about a CUDA graph except the graph, on the CPU."""

import pytest
import torch
from torch import Tensor

from models.backends.graphs import Bucketed, Run

EXAMPLES = torch.zeros(1, 2), torch.zeros(1, dtype=torch.uint8)


class Recorder:
    """A device that captures runs, and counts the captures and the replays."""

    def __init__(self) -> None:
        self.captures = self.replays = 0

    def capture(self, run: Run) -> Run:
        self.captures += 1

        def replay() -> None:
            self.replays += 1
            run()

        return replay


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def scaled(recorder: Recorder) -> Bucketed:
    """Multiplies each row by a number; the second result is the sum of the row."""

    def scale(x: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        product = x * factor.view(-1, 1)
        return product, product.sum(1)

    return Bucketed(scale, EXAMPLES, recorder.capture)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8])
def test_a_bucket_gives_the_results_of_the_function_for_its_first_rows(scaled: Bucketed, rows: int) -> None:
    for offset in (100, 0):  # the second call finds the rows of the first call in the bucket
        x = torch.arange(2.0 * rows).view(rows, 2) + offset
        factor = torch.arange(rows, dtype=torch.uint8)
        product, total = scaled(x, factor)
        assert torch.equal(product, x * factor.view(-1, 1))
        assert torch.equal(total, product.sum(1))


def test_a_bucket_that_is_prepared_is_not_captured_later(scaled: Bucketed, recorder: Recorder) -> None:
    scaled.prepare(5)
    assert recorder.captures == 4, "for 1, 2, 4 and 8 rows"
    for rows in range(1, 9):
        scaled(torch.ones(rows, 2), torch.ones(rows, dtype=torch.uint8))
    assert (recorder.captures, recorder.replays) == (4, 8)


def test_a_larger_call_than_was_prepared_captures_its_bucket(scaled: Bucketed, recorder: Recorder) -> None:
    scaled.prepare(1)
    scaled(torch.ones(2, 2), torch.ones(2, dtype=torch.uint8))
    assert recorder.captures == 2


def test_inputs_of_different_lengths_are_an_error(scaled: Bucketed) -> None:
    with pytest.raises(RuntimeError, match="size"):
        scaled(torch.ones(2, 2), torch.ones(4, dtype=torch.uint8))
