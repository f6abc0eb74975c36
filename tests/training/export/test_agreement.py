"""The comparison of ONNX with torch: it accepts correct graphs, and it detects a graph that is slightly wrong."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from models.artifact import DYNAMICS, SOLVE, Artifact, step_file
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.backends.torch import TorchBackend, load_network
from models.networks.mlp import MLP
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training.data import Dataset
from training.export.agreement import LARGEST_DIFFERENCE, DisagreementError, check, check_whole_solve


@pytest.fixture(scope="module")
def images(few_digits: Dataset) -> Images:
    images: Images = few_digits.validation.images[:6].numpy()
    return images


def perturb(path: Path, value: float) -> None:
    """Set one element of each vector of floats that the graph itself contains to a value."""
    model = onnx.load(path, load_external_data=False)
    changed = 0
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        array = onnx.numpy_helper.to_array(tensor).copy()
        if array.size < 10:
            continue
        array.flat[3] = value
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
        changed += 1
    assert changed, "this test needs a graph with vectors of floats"
    path.write_bytes(model.SerializeToString())


def test_the_exported_steps_agree_with_torch(artifact: Artifact, torch_backend: TorchBackend, images: Images) -> None:
    differences = check(torch_backend, OnnxBackend(artifact.folder, METHODS), images, METHODS)
    assert list(differences) == list(METHODS)
    assert all(0 <= difference <= LARGEST_DIFFERENCE for difference in differences.values())
    assert max(differences.values()) > 0, "two programs never round every number in the same way"


def test_an_exported_network_without_an_ode_agrees_with_torch(mlp_artifact: Artifact, images: Images) -> None:
    backends = TorchBackend(load_network(mlp_artifact)), OnnxBackend(mlp_artifact.folder, [])
    (difference,) = check(*backends, images, []).values()
    assert 0 < difference <= LARGEST_DIFFERENCE


def test_a_wrong_network_without_an_ode_is_detected(
    mlp_artifact: Artifact, images: Images, few_digits: Dataset
) -> None:
    other = TorchBackend(MLP(few_digits.normalisation))
    with pytest.raises(DisagreementError, match=r"^the network: a logit differs by "):
        check(other, OnnxBackend(mlp_artifact.folder, []), images, [])


def test_the_exported_whole_solve_agrees_with_torch(
    artifact: Artifact, default_solver: SolverSettings, torch_backend: TorchBackend, images: Images
) -> None:
    path = artifact.folder / SOLVE
    assert check_whole_solve(torch_backend, path, default_solver.method, images) <= LARGEST_DIFFERENCE


@pytest.mark.parametrize("method", ["euler", "rk4", "dopri5"])
@pytest.mark.parametrize("value", [2.0, float("nan")])
def test_the_error_names_a_step_that_is_slightly_wrong(
    artifact_copy: Path, torch_backend: TorchBackend, images: Images, method: str, value: float
) -> None:
    perturb(artifact_copy / step_file(method), value)
    with pytest.raises(DisagreementError, match=rf"^{method}: a logit differs by "):
        check(torch_backend, OnnxBackend(artifact_copy, METHODS), images, METHODS)


def test_dynamics_that_are_slightly_wrong_are_detected(
    artifact_copy: Path, torch_backend: TorchBackend, images: Images
) -> None:
    """The first method that evaluates the dynamics graph itself detects the error."""
    perturb(artifact_copy / DYNAMICS, 2.0)
    with pytest.raises(DisagreementError, match=r"^bosh3: a logit differs by "):
        check(torch_backend, OnnxBackend(artifact_copy, METHODS), images, METHODS)


def test_the_error_names_a_whole_solve_that_is_slightly_wrong(
    default_solver: SolverSettings, artifact_copy: Path, torch_backend: TorchBackend, images: Images
) -> None:
    perturb(artifact_copy / SOLVE, 2.0)
    with pytest.raises(DisagreementError, match=rf"^{SOLVE}: a logit differs by "):
        check_whole_solve(torch_backend, artifact_copy / SOLVE, default_solver.method, images)


def test_changed_weights_are_detected(
    artifact: Artifact, artifact_copy: Path, torch_backend: TorchBackend, images: Images
) -> None:
    """The test changes one number of the file that all graphs share."""
    path = artifact_copy / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-4:] = np.float32(3).tobytes()
    path.write_bytes(content)
    with pytest.raises(DisagreementError, match="a logit differs by "):
        check(torch_backend, OnnxBackend(artifact_copy, METHODS), images, METHODS)
    assert check(torch_backend, OnnxBackend(artifact.folder, METHODS), images, METHODS)
