"""Opens fitted networks, of runs and of artifacts."""

from pathlib import Path
from typing import NamedTuple

import torch

from models import artifact as artifacts
from models.artifact import MANIFEST
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from models.backends.torch import TorchBackend
from models.backends.torch import load_network as load_exported_network
from models.networks.network import Network
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training.checkpoint import CheckpointError
from training.run import CHECKPOINT, load_network


class Opened(NamedTuple):
    """A fitted network that is ready to classify images.

    Attributes:
        backend: the backend that computes.
        solver: the default solver; None for a network without an ODE.
        methods: the methods that the backend has; empty for a network without an ODE.
    """

    backend: Backend
    solver: SolverSettings | None
    methods: tuple[str, ...]


def open_backend(folder: Path, device: str, *, by_torch: bool = False) -> Opened:
    """Open a fitted network, or the network of an unfinished run, with a backend.

    Torch has every method. onnxruntime has the methods that the artifact exports.

    Args:
        folder: a run folder, an artifact folder, or a models folder of a name, whose newest version is opened.
        device: the type of the device to compute on.
        by_torch: whether torch computes, and not onnxruntime. A run always uses torch.

    Raises:
        ArtifactError: an artifact cannot be read.
        CheckpointError: the folder has neither a manifest nor a checkpoint, or the run in it cannot be read.
    """
    folder = artifacts.newest(folder) or folder
    if by_torch or not (folder / MANIFEST).is_file():
        network, solver = open_fitted(folder, torch.device(device), unfinished=True)
        return Opened(TorchBackend(network, device), solver, () if solver is None else tuple(METHODS))
    manifest = artifacts.read(folder).manifest
    backend = OnnxBackend(folder, manifest.methods, device, threads=torch.get_num_threads())
    return Opened(backend, manifest.default_solver, tuple(manifest.methods))


def open_fitted(
    folder: Path, device: torch.device, *, unfinished: bool = False
) -> tuple[Network, SolverSettings | None]:
    """Open a fitted network with its default solver.

    Args:
        folder: a run folder, an artifact folder, or a models folder of a name, whose newest version is opened.
        device: the device to compute on.
        unfinished: whether the network of a run with epochs left is opened too.

    Returns:
        The network, and its solver; None for a network without an ODE.

    Raises:
        ArtifactError: an artifact cannot be read.
        CheckpointError: the folder has neither a manifest nor a checkpoint, or the run in it cannot be read or has
            epochs left.
    """
    folder = artifacts.newest(folder) or folder
    if (folder / MANIFEST).is_file():
        artifact = artifacts.read(folder)
        return load_exported_network(artifact).to(device), artifact.manifest.default_solver
    if not (folder / CHECKPOINT).is_file():
        raise CheckpointError(f"{folder}: neither an artifact ({MANIFEST}) nor a run ({CHECKPOINT})")
    network, config = load_network(folder, device, unfinished=unfinished)
    solver = config.recipe.validation
    return network, None if solver is None else SolverSettings.adaptive(solver.method, solver.tolerance)
