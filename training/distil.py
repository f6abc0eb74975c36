"""Teachers: fitted networks whose probabilities another network learns (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from models.networks.network import Network
from models.solvers.settings import SolverSettings
from training.fitted import open_fitted

Teacher = Callable[[Tensor], Tensor]
"""A function from images ``[rows, 28, 28]`` in 0..255 to logits ``[rows, classes]``."""


def open_teachers(folders: Sequence[str], device: torch.device) -> list[Teacher]:
    """Open the networks of runs and artifacts.

    Args:
        folders: run folders, artifact folders, or models folders of a name, whose newest version is opened.
        device: the device to compute on.

    Raises:
        ArtifactError: an artifact cannot be read.
        CheckpointError: a folder has neither a manifest nor a checkpoint, or the run in it cannot be read or has epochs
            left.
    """
    return [_teacher(*open_fitted(Path(folder), device)) for folder in folders]


def _teacher(network: Network, solver: SolverSettings | None) -> Teacher:
    network.eval().requires_grad_(requires_grad=False)
    return network if solver is None else partial(network, solver=solver)
