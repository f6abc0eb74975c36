"""The exported graphs: they contain no copy of the weights and no path of the machine, and they agree with torch."""

import json
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.testing import assert_close

from models.artifact import DYNAMICS, HEAD, SOLVE, STEM, WEIGHTS, Artifact, step_file
from models.backends.torch import load_network
from models.networks.odenet import ODENet
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome, solve
from training.data import Dataset
from training.export.graphs import export
from training.export.weights import SMALLEST

GRAPHS = [STEM, DYNAMICS, HEAD, SOLVE, *map(step_file, METHODS)]
every_graph = pytest.mark.parametrize("graph", GRAPHS)


@pytest.fixture(scope="module")
def network(artifact: Artifact) -> ODENet:
    """The torch network of the artifact."""
    loaded = load_network(artifact)
    assert isinstance(loaded, ODENet)
    return loaded.eval().requires_grad_(False)


def session_of(path: Path) -> ort.InferenceSession:
    return ort.InferenceSession(path, providers=["CPUExecutionProvider"])


def graphs_in(graph: onnx.GraphProto) -> list[onnx.GraphProto]:
    """A graph together with the subgraphs of its loops."""
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    return [graph, *(found for each in inner for found in graphs_in(each))]


def contained(path: Path) -> list[bytes]:
    """The contents of all tensors, initialisers and constants, that a graph itself contains."""
    model = onnx.load(path, load_external_data=False)
    tensors = []
    for graph in graphs_in(model.graph):
        tensors += [each for each in graph.initializer if each.data_location != onnx.TensorProto.EXTERNAL]
        tensors += [attribute.t for node in graph.node for attribute in node.attribute if attribute.HasField("t")]
    return [onnx.numpy_helper.to_array(tensor).tobytes() for tensor in tensors]


@every_graph
def test_a_graph_is_valid(artifact: Artifact, graph: str) -> None:
    onnx.checker.check_model(artifact.folder / graph, full_check=True)


@every_graph
def test_a_graph_contains_no_copy_of_the_weights(artifact: Artifact, graph: str) -> None:
    weights = {
        tensor.numpy().tobytes()
        for tensor in load_file(artifact.folder / WEIGHTS).values()
        if tensor.numpy().nbytes >= SMALLEST
    }
    assert len(weights) >= 6, "this test needs several large weights"
    assert not weights & set(contained(artifact.folder / graph))
    assert (artifact.folder / graph).stat().st_size < (artifact.folder / WEIGHTS).stat().st_size / 5


@every_graph
def test_a_graph_refers_to_whole_tensors_of_the_weights_file(artifact: Artifact, graph: str) -> None:
    """Every offset and length belongs to a tensor in the header of the file."""
    content = (artifact.folder / WEIGHTS).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    entries = json.loads(content[8 : 8 + length])
    extents = {
        (8 + length + entry["data_offsets"][0], entry["data_offsets"][1] - entry["data_offsets"][0]): entry["shape"]
        for name, entry in entries.items()
        if name != "__metadata__"
    }
    model = onnx.load(artifact.folder / graph, load_external_data=False)
    external = [each for each in model.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
    assert external
    for each in external:
        where = {entry.key: entry.value for entry in each.external_data}
        assert where["location"] == WEIGHTS
        extent = (int(where["offset"]), int(where["length"]))
        assert extent in extents, each.name
        assert int(np.prod(each.dims)) == int(np.prod(extents[extent]))


@every_graph
def test_a_graph_contains_no_path_of_the_exporting_machine(artifact: Artifact, graph: str) -> None:
    content = (artifact.folder / graph).read_bytes()
    for trace in (str(Path(__file__).parents[3]), "site-packages", ".py", "File ", str(Path.home())):
        assert trace.encode() not in content, trace


@every_graph
def test_a_graph_accepts_any_number_of_rows(artifact: Artifact, graph: str) -> None:
    session = session_of(artifact.folder / graph)
    for node in (*session.get_inputs(), *session.get_outputs()):
        assert node.shape[0] == "rows", node.name
        assert all(isinstance(size, int) for size in node.shape[1:]), node.name


def test_stem_and_head_agree_with_torch(artifact: Artifact, network: ODENet, few_digits: Dataset) -> None:
    stem, head = session_of(artifact.folder / STEM), session_of(artifact.folder / HEAD)
    for rows in (1, 2, 7):
        images = few_digits.test.images[:rows]
        z = network.stem(images)
        assert_close(torch.from_numpy(stem.run(["z"], {"image": images.numpy()})[0]), z, rtol=1e-5, atol=1e-5)
        logits = torch.from_numpy(head.run(["logits"], {"z": z.numpy()})[0])
        assert_close(logits, network.head(z), rtol=1e-5, atol=1e-5)


def test_dynamics_agree_with_torch_at_any_time(artifact: Artifact, network: ODENet) -> None:
    session = session_of(artifact.folder / DYNAMICS)
    generator = torch.Generator().manual_seed(0)
    for rows in (1, 2, 7):
        t, z = (
            torch.rand(rows, generator=generator),
            torch.randn(rows, *artifact.manifest.state_shape, generator=generator),
        )
        derivative = torch.from_numpy(session.run(["derivative"], {"t": t.numpy(), "z": z.numpy()})[0])
        assert_close(derivative, network.dynamics(t, z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_step_agrees_with_torch_for_every_row(
    artifact: Artifact, network: ODENet, few_digits: Dataset, method: str
) -> None:
    """Every row has a different time, step size and tolerances, so the test detects inputs that are swapped."""
    session = session_of(artifact.folder / step_file(method))
    z = network.stem(few_digits.test.images[:5])
    t, h = torch.tensor([0.0, 0.25, 0.5, 0.75, 0.9]), torch.tensor([0.5, 0.1, 1.0, 0.01, 0.05])
    rtol, atol = torch.tensor([1e-6, 1e-2, 10, 1e-1, 1e-3]), torch.tensor([1e-5, 10, 1e-2, 1e-1, 1e-4])
    inputs = {"z": z, "k1": network.dynamics(t, z), "t": t, "h": h, "rtol": rtol, "atol": atol}
    expected = network.step(method)(*inputs.values())
    outputs = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    names = [node.name for node in session.get_outputs()]
    assert names == ["z_next", "k1_next", "t_next", "h_next", "error", "accepted"]
    for output, tensor in zip(outputs, expected, strict=True):
        assert_close(torch.from_numpy(output), tensor, rtol=1e-3, atol=1e-5)
    if METHODS[method].adaptive:
        assert 0 < expected.accepted.sum() < 5, "this test needs accepted and rejected rows"


@pytest.mark.parametrize("rows", [1, 3, 17])
def test_the_whole_solve_agrees_with_torch(
    artifact: Artifact, default_solver: SolverSettings, network: ODENet, few_digits: Dataset, rows: int
) -> None:
    """The logits and the counts agree, with different tolerances for every row, and with rtol different from atol."""
    images = few_digits.test.images[:rows]
    rtol, atol = torch.logspace(-4, 0.5, rows), torch.logspace(-1, -4, rows)
    step = network.step(default_solver.method)
    solution = solve(step, network.stem(images), rtol=rtol, atol=atol)
    outputs = session_of(artifact.folder / SOLVE).run(
        ["logits", "nfe", "steps", "rejected", "error_estimate", "outcome"],
        {"image": images.numpy(), "rtol": rtol.numpy(), "atol": atol.numpy()},
    )
    logits, nfe, steps, rejected, error, outcome = (torch.from_numpy(output) for output in outputs)
    assert_close(logits, network.head(solution.z), rtol=0, atol=1e-4)
    for name, actual in {"nfe": nfe, "steps": steps, "rejected": rejected, "outcome": outcome}.items():
        assert actual.tolist() == getattr(solution, name).tolist(), name
    assert_close(error, solution.error, rtol=1e-2, atol=1e-6)
    assert outcome.tolist() == [Outcome.converged] * rows
    if rows > 1:
        assert len(set(nfe.tolist())) > 1, "this test needs rows with different costs"


def test_the_whole_solve_gives_up_the_same_rows_as_torch(
    artifact: Artifact, default_solver: SolverSettings, network: ODENet, few_digits: Dataset
) -> None:
    """One row has a tolerance of zero, which no step can meet, and the other row converges."""
    images = few_digits.test.images[:2]
    tolerance = np.array([0.0, 1e-1], np.float32)
    logits, nfe, steps, rejected, outcome = session_of(artifact.folder / SOLVE).run(
        ["logits", "nfe", "steps", "rejected", "outcome"],
        {"image": images.numpy(), "rtol": tolerance, "atol": tolerance},
    )
    step = network.step(default_solver.method)
    solution = solve(step, network.stem(images), rtol=torch.tensor(tolerance), atol=torch.tensor(tolerance))
    assert outcome.tolist() == solution.outcome.tolist()
    assert outcome[0] != Outcome.converged
    assert outcome[1] == Outcome.converged
    assert (nfe[1], steps[1], rejected[1]) == (solution.nfe[1], solution.steps[1], solution.rejected[1])
    assert_close(torch.from_numpy(logits[1]), network.head(solution.z)[1], rtol=0, atol=1e-4)


class Weighted(nn.Module):
    """A sum in which each of the three inputs has a different weight."""

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        return a + 10 * b + 100 * c


def test_the_same_example_tensor_for_several_inputs_gives_several_inputs() -> None:
    value = torch.ones(3)
    model = export(Weighted(), {"a": value, "b": value, "c": value}, ["sum"])
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs: dict[str, npt.NDArray[np.float32]] = {
        "a": np.array([1, 2], np.float32),
        "b": np.array([3, 4], np.float32),
        "c": np.array([5, 6], np.float32),
    }
    assert session.run(None, inputs)[0].tolist() == [531, 642]
