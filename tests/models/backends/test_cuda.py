"""What needs a CUDA device: `make test-gpu`."""

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
def test_cuda_answers_as_the_cpu_does(
    artifact: Artifact, torch_backend: TorchBackend, digits: Images, method: str
) -> None:
    cuda = TorchBackend(load_network(artifact), device="cuda")
    expected, answer = (classify(backend, digits, solver_for(method)) for backend in (torch_backend, cuda))
    assert np.abs(answer.logits - expected.logits).max() < 1e-2  # CUDA convolves in TF32 where it can
    assert (answer.digits == expected.digits).all()
