"""The benchmark of escalation counts digits and evaluations, and states a bound of the agreement."""

import numpy as np

from benchmarks.escalation import Row, measure
from models.artifact import read
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.profile import SUFFICIENT_AGREEMENT
from tests.artifacts import FAST
from training.data import Dataset, Split


def test_each_row_counts_the_digits_that_differ_from_a_tight_solve(mnist: Dataset) -> None:
    artifact = read(FAST)
    assert artifact.profile is not None
    ladder = artifact.profile.ladder_for(SUFFICIENT_AGREEMENT)
    assert ladder is not None
    images, labels = (column[:200] for column in mnist.validation)
    fixed, loose, climbing = measure(artifact, Split(images, labels))
    backend = OnnxBackend(FAST, artifact.manifest.methods)
    reference = classify(backend, images.numpy(), artifact.profile.reference).digits
    first, second = (classify(backend, images.numpy(), rung.solver) for rung in ladder.rungs)
    again = first.margins < (ladder.rungs[0].threshold or 0)
    digits = np.where(again, second.digits, first.digits)
    assert loose.disagreements == np.count_nonzero(first.digits != reference)
    assert climbing.disagreements == np.count_nonzero(digits != reference)
    assert climbing.nfe == (first.nfe + again * second.nfe).mean()
    assert climbing.escalated == again.mean()
    assert climbing.error == (digits != labels.numpy()).mean()
    assert fixed.solve.startswith(str(artifact.manifest.default_solver))


def test_a_row_states_the_agreement_and_its_lower_bound() -> None:
    """If 6.3 images in 10,000 disagree, at most 2 disagree with a probability of e^-6.3 (1 + 6.3 + 6.3^2 / 2) = 5 %."""
    row = Row("solve", 10_000, disagreements=2, nfe=2.2, escalated=0.013, error=0.003, ece=0.0025)
    assert str(row) == "solve | 2 | 99.98% | 99.94% | 2.20 | 1.30% | 0.30% | 0.25%"
