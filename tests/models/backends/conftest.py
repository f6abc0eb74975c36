"""Both backends, on the same artifact."""

import pytest

from models.artifact import Artifact
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.solvers.methods import METHODS
from training.data import Dataset


@pytest.fixture(scope="session")
def onnx_backend(artifact: Artifact) -> OnnxBackend:
    return OnnxBackend(artifact.folder, METHODS)


@pytest.fixture(scope="session")
def digits(few_digits: Dataset) -> Images:
    """Real digits that no backend has seen."""
    images: Images = few_digits.test.images[:24].numpy()
    return images
