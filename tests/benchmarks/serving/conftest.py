from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.serving.bench import Bench
from benchmarks.serving.requests import Digits
from tests.digits import load_test_set


@pytest.fixture(scope="session")
def digits() -> Digits:
    """MNIST's test set."""
    images, labels = load_test_set()
    return Digits(images, labels.astype(np.int64))


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """A bench for very short measurements. Each load first makes a request for every digit, so there are few digits."""
    with Bench.open(0.2, 1, lambda _: None) as opened:
        opened.digits = Digits(opened.digits.images[:100], opened.digits.labels[:100])
        yield opened
