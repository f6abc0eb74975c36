"""The ODE-Net of Chen et al. 2018, *Neural Ordinary Differential Equations* (arXiv 1806.07366), section 3."""

import torch
from torch import Tensor, nn

from models.networks.layers import ConcatConv, GroupNorm, Normalisation, Normalise
from models.solvers.methods import METHODS
from models.solvers.solve import Observer, Solution, solve
from models.solvers.step import Step

CHANNELS = 64
GROUPS = 32


class Dynamics(nn.Module):
    """f of ``dz/dt = f(t, z)``: two convolutions that see the time, each between group normalisations."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, CHANNELS)
        self.conv1 = ConcatConv(CHANNELS)
        self.norm2 = GroupNorm(GROUPS, CHANNELS)
        self.conv2 = ConcatConv(CHANNELS)
        self.norm3 = GroupNorm(GROUPS, CHANNELS)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Evaluate f at the times ``[rows]`` and states ``[rows, 64, 6, 6]``."""
        out = self.conv1(t, torch.relu(self.norm1(z)))
        out = self.conv2(t, torch.relu(self.norm2(out)))
        derivative: Tensor = self.norm3(out)
        return derivative


class Stem(nn.Sequential):
    """From pixels of 0..255, ``[rows, 28, 28]``, to the state at t = 0, ``[rows, 64, 6, 6]``."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(
            Normalise(normalisation),
            nn.Conv2d(1, CHANNELS, 3),
            GroupNorm(GROUPS, CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 4, stride=2, padding=1),
            GroupNorm(GROUPS, CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 4, stride=2, padding=1),
        )


class Head(nn.Sequential):
    """From the state at t = 1 to the logits, ``[rows, classes]``."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            GroupNorm(GROUPS, CHANNELS),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(CHANNELS, classes),
        )


class ODENet(nn.Module):
    """A classifier whose depth is the solve of an ODE on [0, 1]; 208,266 parameters for ten classes.

    Args:
        normalisation: of the pixels that it is fitted on.
        classes: the number of classes.
    """

    def __init__(self, normalisation: Normalisation, classes: int = 10) -> None:
        super().__init__()
        self.stem = Stem(normalisation)
        self.dynamics = Dynamics()
        self.head = Head(classes)

    def step(self, method: str) -> Step:
        """One step of a method on this network's dynamics."""
        return Step(self.dynamics, METHODS[method])

    def forward(
        self,
        images: Tensor,
        method: str = "dopri5",
        *,
        tolerance: float = 1e-3,
        steps: int = 1,
        observe: Observer | None = None,
    ) -> tuple[Tensor, Solution]:
        """Classify images ``[rows, 28, 28]`` of 0..255.

        Args:
            images: uint8, or floating on the same scale.
            method: one of `models.solvers.methods.METHODS`.
            tolerance: rtol and atol of an adaptive method.
            steps: the number of steps of a fixed-step method.
            observe: sees each attempted step.

        Returns:
            The logits ``[rows, classes]``, and the solve that led to them.
        """
        step = self.step(method)
        first_step = None if step.tableau.adaptive else 1 / steps
        z = self.stem(images).to(self.dynamics.norm1.weight.dtype)  # autocast may compute f, but not carry the state
        solution = solve(step, z, rtol=tolerance, atol=tolerance, first_step=first_step, observe=observe)
        return self.head(solution.z), solution
