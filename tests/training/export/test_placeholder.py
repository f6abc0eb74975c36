"""A graph with the inserted dynamics computes the same as a graph whose trace went through the dynamics."""

import numpy as np
import onnx
import onnxruntime as ort
import torch

from models.networks.odenet import ODENet
from models.solvers.methods import METHODS
from models.solvers.step import Step
from tests.conftest import unfitted
from training.data import Dataset
from training.export.graphs import export
from training.export.placeholder import DOMAIN, Placeholder, insert

ROWS = 3
OUTPUTS = ["z_next", "k1_next", "t_next", "h_next", "error", "accepted"]


def run(graph: onnx.ModelProto, inputs: dict[str, torch.Tensor]) -> list[np.ndarray]:
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[np.ndarray] = session.run(OUTPUTS, {name: value.numpy() for name, value in inputs.items()})
    return outputs


def test_inserted_dynamics_compute_the_same_as_traced_dynamics(few_digits: Dataset) -> None:
    network = unfitted("odenet-mnist-fast", few_digits).network
    assert isinstance(network, ODENet)
    z = network.stem(few_digits.test.images[:ROWS]).detach()
    k1 = network.dynamics(torch.zeros(ROWS), z).detach()
    scalars = {
        name: torch.full((ROWS,), value) for name, value in {"t": 0.2, "h": 0.3, "rtol": 0.1, "atol": 0.1}.items()
    }
    inputs = {"z": z, "k1": k1, **scalars}
    dynamics = export(network.dynamics, {"t": inputs["t"], "z": z}, ["derivative"])
    inserted = insert(dynamics, export(Step(Placeholder(), METHODS["bosh3"]), inputs, OUTPUTS))
    assert not [node for node in inserted.graph.node if node.domain == DOMAIN]
    traced = export(network.step("bosh3"), inputs, OUTPUTS)
    for inserted_output, traced_output in zip(run(inserted, inputs), run(traced, inputs), strict=True):
        assert np.array_equal(inserted_output, traced_output)
