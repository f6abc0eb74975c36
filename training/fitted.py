"""Opens fitted networks, of runs and of artifacts."""

from pathlib import Path

import torch

from models import artifact as artifacts
from models.artifact import MANIFEST
from models.backends.torch import load_network as load_exported_network
from models.networks.network import Network
from models.solvers.settings import SolverSettings
from training.run import load_network


def open_fitted(folder: Path, device: torch.device) -> tuple[Network, SolverSettings | None]:
    """Open a fitted network with its default solver.

    Args:
        folder: a run folder, an artifact folder, or a models folder of a name, whose newest version is opened.
        device: the device to compute on.

    Returns:
        The network, and its solver; None for a network without an ODE.

    Raises:
        ArtifactError: an artifact cannot be read.
        CheckpointError: a folder has no manifest, and its checkpoint or its config is missing or cannot be read.
    """
    folder = artifacts.newest(folder) or folder
    if (folder / MANIFEST).is_file():
        artifact = artifacts.read(folder)
        return load_exported_network(artifact).to(device), artifact.manifest.default_solver
    network, config = load_network(folder, device)
    solver = config.recipe.validation
    return network, None if solver is None else SolverSettings.adaptive(solver.method, solver.tolerance)
