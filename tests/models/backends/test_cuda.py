"""Tests that need a CUDA device; `make test-gpu` runs them."""

import numpy as np
import pytest

from models.artifact import Artifact
from models.backends.answer import Images
from models.backends.protocol import classify
from models.backends.torch import TorchBackend, load_network
from models.solvers.methods import METHODS
from training.export.agreement import solver_for

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("method", METHODS)
def test_cuda_gives_the_same_digits_as_the_cpu(
    artifact: Artifact, torch_backend: TorchBackend, digits: Images, method: str
) -> None:
    cuda = TorchBackend(load_network(artifact), device="cuda")
    expected, answer = (classify(backend, digits, solver_for(method)) for backend in (torch_backend, cuda))
    assert (
        np.abs(answer.logits - expected.logits).max() < 1e-2
    )  # CUDA uses TF32 for convolutions if the device supports it
    assert (answer.digits == expected.digits).all()
