"""How sure the loose solve of a network is."""

import numpy as np

from benchmarks.consistency import LOOSE, TIGHT, sureness
from models.backends.protocol import classify
from models.backends.torch import TorchBackend
from training.data import Dataset


def test_the_loose_solve_is_compared_with_the_tight_solve(torch_backend: TorchBackend, few_digits: Dataset) -> None:
    images, labels = (each.numpy() for each in few_digits.validation)
    loose, tight = (classify(torch_backend, images, solver) for solver in (LOOSE, TIGHT))
    measured = sureness(torch_backend, few_digits.validation)
    assert measured.loose_error == (loose.digits != labels).mean()
    assert measured.tight_error == (tight.digits != labels).mean()
    assert measured.differ == (loose.digits != tight.digits).sum() > 0, "this test needs digits that differ"
    assert measured.largest_margin == np.max(loose.margins[loose.digits != tight.digits])
    assert measured.escalated >= measured.differ / len(images)
