"""The backend of torch by itself: the network that was exported, and what it says where it cannot be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.artifact import WEIGHTS, Artifact, ArtifactError
from models.backends.protocol import Images, classify
from models.backends.torch import TorchBackend, load_network
from models.solvers.settings import SolverSettings
from training.export.write import Source


def test_the_network_is_the_one_that_was_exported(artifact: Artifact, source: Source) -> None:
    network = load_network(artifact)
    expected = source.network.state_dict()
    assert network.stem[0].normalisation == source.dataset.normalisation
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, expected[name]), name


def test_it_answers_as_the_network_does(torch_backend: TorchBackend, source: Source, digits: Images) -> None:
    with torch.no_grad():
        logits, solution = source.network(torch.from_numpy(digits.copy()), "bosh3", tolerance=1e-2)
    answer = classify(torch_backend, digits, SolverSettings.adaptive("bosh3", 1e-2))
    assert np.abs(answer.logits - logits.numpy()).max() < 1e-4
    assert answer.nfe.tolist() == solution.nfe.tolist()


def test_it_records_no_gradients(torch_backend: TorchBackend, digits: Images) -> None:
    z = torch_backend.stem(digits)
    assert not z.requires_grad
    assert not torch_backend.head(z).requires_grad
    assert not torch_backend.step("rk4").dynamics(torch.zeros(len(z)), z).requires_grad


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch has CUDA")
def test_without_cuda_it_says_so(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="device cuda: torch sees no CUDA device"):
        TorchBackend(load_network(artifact), device="cuda")


@pytest.mark.parametrize("change", ["missing", "further", "of another shape"])
def test_weights_of_another_network_are_named(artifact: Artifact, artifact_copy: Path, change: str) -> None:
    tensors = load_file(artifact_copy / WEIGHTS)
    if change == "missing":
        del tensors["head.4.bias"]
    elif change == "further":
        tensors["head.5.bias"] = torch.zeros(2)
    else:
        tensors["head.4.bias"] = torch.zeros(2)
    save_file(tensors, artifact_copy / WEIGHTS)
    with pytest.raises(ArtifactError, match=rf"{WEIGHTS}: not the weights of odenet"):
        load_network(replace(artifact, folder=artifact_copy))


@pytest.mark.parametrize("content", [b"", b"not weights", bytes(64), None])
def test_weights_that_cannot_be_read_are_named(artifact: Artifact, artifact_copy: Path, content: bytes | None) -> None:
    if content is None:
        (artifact_copy / WEIGHTS).unlink()
    else:
        (artifact_copy / WEIGHTS).write_bytes(content)
    with pytest.raises(ArtifactError, match=WEIGHTS):
        load_network(replace(artifact, folder=artifact_copy))
