"""The backends with the smaller of the two networks that ship. Each backend is created once."""

from collections.abc import Sequence
from functools import cache

from torch import Tensor

from models import artifact as artifacts
from models.backends.graphs import Bucketed, Function
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from models.backends.torch import TorchBackend, TorchFlight, load_network, make_parts
from models.networks.network import Network
from models.solvers.methods import METHODS
from tests.artifacts import FAST


class BucketedBackend(TorchBackend):
    """Torch on the CPU, whose flights compute in buckets as they do on CUDA, but without graphs."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self._in_buckets = make_parts(network, self._steps, in_buckets)

    def flight(self, method: str | None, capacity: int, /) -> TorchFlight:
        return TorchFlight(self._in_buckets, None if method is None else METHODS[method], capacity, "cpu")


def in_buckets(function: Function, examples: Sequence[Tensor]) -> Function:
    """A part in buckets, whose results are copied as the transfer from a device copies them."""
    bucketed = Bucketed(function, examples, lambda run: run)
    return lambda *inputs: tuple(result.clone() for result in bucketed(*inputs))


@cache
def backend_of(name: str) -> Backend:
    if name == "onnxruntime":
        return OnnxBackend(FAST, METHODS)
    kind = TorchBackend if name == "torch" else BucketedBackend
    return kind(load_network(artifacts.read(FAST)))
