"""A graph with the inserted dynamics computes the same as a graph whose trace went through the dynamics."""

import numpy as np
import onnx
import onnxruntime as ort
import torch

from models.artifact import Artifact, step_file
from models.backends.torch import load_network
from models.networks.odenet import ODENet
from training.data import Dataset
from training.export.graphs import export
from training.export.placeholder import DOMAIN

ROWS = 3
OUTPUTS = ["z_next", "k1_next", "t_next", "h_next", "error", "accepted"]


def test_inserted_dynamics_compute_the_same_as_traced_dynamics(artifact: Artifact, few_digits: Dataset) -> None:
    network = load_network(artifact)
    assert isinstance(network, ODENet)
    inserted = artifact.folder / step_file("bosh3")
    assert not [node for node in onnx.load(inserted).graph.node if node.domain == DOMAIN]

    z = network.stem(few_digits.test.images[:ROWS]).detach()
    k1 = network.dynamics(torch.zeros(ROWS), z).detach()
    scalars = {
        name: torch.full((ROWS,), value) for name, value in {"t": 0.2, "h": 0.3, "rtol": 0.1, "atol": 0.1}.items()
    }
    inputs = {"z": z, "k1": k1, **scalars}
    traced = export(network.step("bosh3"), inputs, OUTPUTS).SerializeToString()

    def run(graph: str | bytes) -> list[np.ndarray]:
        session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        outputs: list[np.ndarray] = session.run(OUTPUTS, {name: value.numpy() for name, value in inputs.items()})
        return outputs

    for inserted_output, traced_output in zip(run(str(inserted)), run(traced), strict=True):
        assert np.array_equal(inserted_output, traced_output)
