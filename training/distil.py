"""Teachers: fitted networks whose probabilities another network learns (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from models import artifact as artifacts
from models.artifact import MANIFEST
from models.backends.torch import load_network as load_exported_network
from models.networks.network import Network
from models.solvers.settings import SolverSettings
from training.run import load_network

Teacher = Callable[[Tensor], Tensor]
"""A function from images ``[rows, 28, 28]`` in 0..255 to logits ``[rows, classes]``."""


def open_teachers(folders: Sequence[str], device: torch.device) -> list[Teacher]:
    """Open the networks of runs and artifacts.

    Args:
        folders: run folders, artifact folders, or models folders of a name, whose newest version is opened.
        device: the device to compute on.

    Raises:
        ArtifactError: an artifact cannot be read.
        CheckpointError: a folder has no manifest, and its checkpoint or its config is missing or cannot be read.
    """
    return [_open(Path(folder), device) for folder in folders]


def _open(folder: Path, device: torch.device) -> Teacher:
    folder = artifacts.newest(folder) or folder
    if (folder / MANIFEST).is_file():
        artifact = artifacts.read(folder)
        return _teacher(load_exported_network(artifact).to(device), artifact.manifest.default_solver)
    network, config = load_network(folder, device)
    solver = config.recipe.validation
    return _teacher(network, None if solver is None else SolverSettings.adaptive(solver.method, solver.tolerance))


def _teacher(network: Network, solver: SolverSettings | None) -> Teacher:
    network.eval().requires_grad_(requires_grad=False)
    return network if solver is None else partial(network, solver=solver)
