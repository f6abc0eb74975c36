"""The speed of the bare kernels."""

import numpy as np

from benchmarks.serving.kernels import BATCHES, Bare, Kernels, measure, median_of
from benchmarks.serving.requests import Digits
from models.artifact import read
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from tests.serving import SHIPPED


def test_the_bare_kernels_give_the_same_logits_as_the_solve(digits: Digits) -> None:
    manifest = read(SHIPPED).manifest
    expected = classify(OnnxBackend(SHIPPED, manifest.methods), digits.images[:16], manifest.default_solver)
    assert np.allclose(Bare(SHIPPED)(digits.images[:16]), expected.logits, atol=1e-4)


def test_the_kernels_are_measured_at_every_batch_size_and_in_all_processes(digits: Digits) -> None:
    measured = measure(SHIPPED, digits.images[:64], seconds=0.02, processes=2)
    assert tuple(measured.by_batch) == BATCHES
    assert measured.by_batch[measured.best_batch] == max(measured.by_batch.values())
    assert min(measured.by_batch.values()) > 0
    assert measured.together > 0
    assert measured.one_image > 0


def test_repetitions_are_combined_by_their_median() -> None:
    repetitions = [Kernels({1: rate, 2: 2 * rate}, rate, 2, 1 / rate) for rate in (1.0, 5.0, 2.0)]
    assert median_of(repetitions) == Kernels({1: 2.0, 2: 4.0}, 2.0, 2, 0.5)
    assert median_of(repetitions).best_batch == 2
