"""The backends with the network that ships. Each backend is created once."""

from functools import cache

from models import artifact as artifacts
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from models.backends.torch import TorchBackend, load_network
from models.solvers.methods import METHODS
from tests.serving import SHIPPED


@cache
def backend_of(name: str) -> Backend:
    if name == "onnxruntime":
        return OnnxBackend(SHIPPED, METHODS)
    return TorchBackend(load_network(artifacts.read(SHIPPED)))
