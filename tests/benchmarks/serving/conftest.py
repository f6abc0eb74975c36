import numpy as np
import pytest

from benchmarks.serving.requests import Digits
from tests.digits import load_test_set


@pytest.fixture(scope="session")
def digits() -> Digits:
    """MNIST's test set."""
    images, labels = load_test_set()
    return Digits(images, labels.astype(np.int64))
