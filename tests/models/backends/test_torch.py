"""The torch backend: it runs the exported network, and it reports weights and devices that it cannot use."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from models.artifact import WEIGHTS, Artifact, ArtifactError, NetworkName
from models.backends.answer import Images
from models.backends.protocol import classify
from models.backends.torch import TorchBackend, load_network
from models.networks.layers import Normalisation
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome, solve
from training.export.write import Source


def test_the_loaded_network_equals_the_exported_network(artifact: Artifact, source: Source) -> None:
    network = load_network(artifact)
    expected = source.network.state_dict()
    assert isinstance(network.stem, nn.Sequential)
    assert network.stem[0].normalisation == source.config.normalisation
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_the_backend_gives_the_same_answer_as_the_network(
    torch_backend: TorchBackend, source: Source, digits: Images
) -> None:
    network, images, solver = source.network, torch.from_numpy(digits.copy()), SolverSettings.adaptive("bosh3", 1e-2)
    assert isinstance(network, ODENet)
    with torch.no_grad():
        logits = network(images, solver)
        solution = solve(network.step("bosh3"), network.stem(images), **solver.arguments._asdict())
    answer = classify(torch_backend, digits, solver)
    assert np.abs(answer.logits - logits.numpy()).max() < 1e-4
    assert answer.nfe.tolist() == solution.nfe.tolist()


@pytest.mark.parametrize("name", ["mlp", "resnet", "stem-only"])
@pytest.mark.parametrize("batch_size", [1, 5, 64])
def test_a_network_without_an_ode_needs_no_evaluations(digits: Images, name: NetworkName, batch_size: int) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](Normalisation(0.13, 0.31))
    with torch.no_grad():
        logits = network(torch.from_numpy(digits.copy()))
    answer = classify(TorchBackend(network), digits, None, batch_size)
    assert np.abs(answer.logits - logits.numpy()).max() < 1e-4
    assert answer.logits.dtype == answer.error_estimate.dtype == np.float32
    for counts in (answer.steps, answer.rejected, answer.nfe, answer.outcome):
        assert counts.dtype == np.int64
        assert counts.tolist() == [0] * len(digits)
    assert answer.error_estimate.tolist() == [0] * len(digits)
    assert set(answer.outcome.tolist()) == {Outcome.converged}


def test_the_backend_records_no_gradients(torch_backend: TorchBackend, digits: Images) -> None:
    z = torch_backend.stem(digits)
    assert not z.requires_grad
    assert not torch_backend.head(z).requires_grad
    assert not torch_backend.step("rk4").dynamics(torch.zeros(len(z)), z).requires_grad


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch has CUDA")
def test_the_error_for_missing_cuda_names_the_device(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="device cuda: torch sees no CUDA device"):
        TorchBackend(load_network(artifact), device="cuda")


@pytest.mark.parametrize("change", ["missing", "additional", "of another shape"])
def test_the_error_names_weights_of_another_network(artifact: Artifact, artifact_copy: Path, change: str) -> None:
    tensors = load_file(artifact_copy / WEIGHTS)
    if change == "missing":
        del tensors["head.4.bias"]
    elif change == "additional":
        tensors["head.5.bias"] = torch.zeros(2)
    else:
        tensors["head.4.bias"] = torch.zeros(2)
    save_file(tensors, artifact_copy / WEIGHTS)
    with pytest.raises(ArtifactError, match=rf"{WEIGHTS}: not the weights of odenet"):
        load_network(replace(artifact, folder=artifact_copy))


@pytest.mark.parametrize("content", [b"", b"not weights", bytes(64), None])
def test_the_error_names_weights_that_cannot_be_read(
    artifact: Artifact, artifact_copy: Path, content: bytes | None
) -> None:
    if content is None:
        (artifact_copy / WEIGHTS).unlink()
    else:
        (artifact_copy / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=WEIGHTS):
        load_network(replace(artifact, folder=artifact_copy))
