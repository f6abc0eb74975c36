"""The loss that a fit minimises: the cross entropy with terms for teachers, the training solver and outliers."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.solvers.attempt import Attempt
from models.solvers.settings import SolverSettings
from training.recipe import AdjointGradient, Recipe, SolverGradient

LOOSE = SolverSettings(method="midpoint", steps=1)
"""The loose solve whose probabilities should not differ from those of the training solve."""


def training_loss(
    network: nn.Module,
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    targets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The loss of a batch under a recipe, and the logits of its digits.

    Args:
        network: the network of the recipe, or a wrapper with the same call.
        recipe: the recipe with the training solver, the label smoothing and a decided precision.
        images: ``[rows, 28, 28]`` in 0..255, first the digits and then the outliers.
        labels: the labels of the digits, ``[digits]``.
        generator: draws the number of steps.
        targets: the teachers' probabilities for the digits, ``[digits, classes]``; None for a recipe without teachers.

    Returns:
        The loss, a scalar, and the logits, ``[digits, classes]``, both float32. The kinetic penalty and the consistency
        term are means over digits and outliers.

    Raises:
        ValueError: the recipe has outliers and the images have none, or the other way round; the recipe has teachers
            and targets is None, or the other way round; or the precision of the recipe is "auto".
    """
    if recipe.precision == "auto":
        raise ValueError("precision: 'auto' is not decided yet; expected 'float32' or 'bfloat16'")
    if (targets is None) != (recipe.distil is None):
        given = "none are given" if targets is None else "they are given"
        raise ValueError(f"targets: {given}, but the recipe's teachers are {recipe.distil}")
    if (len(images) > len(labels)) != (recipe.outliers is not None):
        raise ValueError(
            f"images: {len(images)} for {len(labels)} labels, but the recipe's outliers are {recipe.outliers}"
        )
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
                if solver.consistency:
                    tight = logits.detach().float().softmax(1)
                    penalty = penalty + solver.consistency * _divergence(network(images, LOOSE).float(), tight)
    logits, of_outliers = logits.float().tensor_split([len(labels)])
    loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
    if recipe.distil and targets is not None:
        loss = torch.lerp(loss, _divergence(logits, targets, recipe.distil.temperature), recipe.distil.weight)
    loss = loss + penalty
    if recipe.outliers:
        loss = loss + recipe.outliers.weight * _divergence_from_uniform(of_outliers)
    return loss, logits


def _divergence(logits: Tensor, targets: Tensor, temperature: float = 1) -> Tensor:
    """The mean Kullback-Leibler divergence KL(targets || answer), scaled so that its gradients match temperature 1."""
    answers = F.log_softmax(logits / temperature, dim=1)
    return temperature**2 * F.kl_div(answers, targets, reduction="batchmean")


def _divergence_from_uniform(logits: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence KL(uniform || answer); 0 for uniform answers."""
    return -F.log_softmax(logits, dim=1).mean() - math.log(logits.shape[1])


def _through_solver(network: nn.Module, images: Tensor, method: str, steps: int) -> tuple[Tensor, Tensor]:
    """The logits, and the kinetic energy of the path of the state."""
    energies: list[Tensor] = []

    def add_energy(_rows: Any, _t: Any, _h: Any, attempt: Attempt) -> None:
        energies.append(attempt.k1.square().mean() / steps)

    logits = network(images, SolverSettings(method=method, steps=steps), observe=add_energy)
    return logits, torch.stack(energies).sum()
