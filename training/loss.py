"""What a fit makes small: the cross entropy, with what the training solver adds."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.solvers.attempt import Attempt
from models.solvers.settings import SolverSettings
from training.recipe import AdjointGradient, Recipe, SolverGradient


def training_loss(
    network: nn.Module, recipe: Recipe, images: Tensor, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The loss of a batch as the recipe has it, to be differentiated, and the logits ``[rows, classes]`` of float32.

    Args:
        network: that of the recipe, or a wrapper that is called as it is.
        recipe: with the training solver, the precision and the smoothing.
        images: ``[rows, 28, 28]`` of 0..255.
        labels: ``[rows]``.
        generator: draws the number of steps.
    """
    penalty = torch.zeros((), device=images.device)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        match recipe.solver:
            case None:
                logits = network(images)
            case AdjointGradient() as solver:
                logits = network(images, solver.settings, adjoint=True)
            case SolverGradient() as solver:
                drawn = torch.randint(len(solver.steps), (), generator=generator, device=generator.device)
                logits, energy = _through_solver(network, images, solver.method, solver.steps[int(drawn)])
                penalty = solver.kinetic_penalty * energy
    logits = logits.float()
    return F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing) + penalty, logits


def _through_solver(network: nn.Module, images: Tensor, method: str, steps: int) -> tuple[Tensor, Tensor]:
    """The logits, and the kinetic energy of the way to them."""
    energies: list[Tensor] = []

    def add_energy(_rows: Any, _t: Any, _h: Any, attempt: Attempt) -> None:
        energies.append(attempt.k1.square().mean() / steps)

    logits = network(images, SolverSettings(method=method, steps=steps), observe=add_energy)
    return logits, torch.stack(energies).sum()
