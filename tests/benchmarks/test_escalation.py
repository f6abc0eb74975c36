"""The benchmark of escalation counts digits and evaluations."""

import numpy as np

from benchmarks.escalation import measure
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
