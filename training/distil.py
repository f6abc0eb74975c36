"""Teachers: fitted networks whose probabilities another network learns (Hinton et al. 2015, arXiv 1503.02531)."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from models import artifact as artifacts
from models.networks.network import Network
from models.solvers.settings import SolverSettings
from training.fitted import open_fitted
from training.recipe import Recipe

Teacher = Callable[[Tensor], Tensor]
"""A function from images ``[rows, 28, 28]`` in 0..255 to logits ``[rows, classes]``."""


def with_newest_teachers(recipe: Recipe) -> Recipe:
    """Replace each models folder among the teachers of a recipe by the folder of its newest version.

    The config of the run then names this version. When a newer version appears, the run cannot be resumed with it.

    Args:
        recipe: the recipe; it is returned unchanged if it has no teachers.
    """
    if recipe.distil is None:
        return recipe
    teachers = tuple(str(artifacts.newest(Path(folder)) or folder) for folder in recipe.distil.teachers)
    return recipe.model_copy(update={"distil": recipe.distil.model_copy(update={"teachers": teachers})})


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
