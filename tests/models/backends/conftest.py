"""Fixtures: both backends, with the same artifact."""

import pytest

from models.artifact import Artifact
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from models.solvers.methods import METHODS
from tests.models.backends.shipped import backend_of
from training.data import Dataset


@pytest.fixture(params=["onnxruntime", "torch"])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend with the network that ships."""
    return backend_of(request.param)


@pytest.fixture(scope="session")
def onnx_backend(artifact: Artifact) -> OnnxBackend:
    return OnnxBackend(artifact.folder, METHODS)


@pytest.fixture(scope="session")
def digits(few_digits: Dataset) -> Images:
    """Real digits that no network was fitted on."""
    images: Images = few_digits.test.images[:24].numpy()
    return images
