"""The ODE-Net of Chen et al. 2018, *Neural Ordinary Differential Equations* (arXiv 1806.07366), section 3.

The RK-Net of that paper is the same network; only its fit differs, which differentiates through the solver.
"""

import torch
from torch import Tensor, nn

from models.networks.layers import CHANNELS, GROUPS, ConcatConv, GroupNorm, Head, Normalisation, Normalise
from models.networks.network import Network
from models.solvers.adjoint import solve_with_adjoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Observer, solve
from models.solvers.step import Step

WIDE = 96
"""The channels of the state of `WideODENet`."""

DEFAULT_SOLVER = SolverSettings.adaptive("dopri5", 1e-3)


class Dynamics(nn.Module):
    """f of ``dz/dt = f(t, z)``: two convolutions that see the time, each between group normalisations."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, channels)
        self.conv1 = ConcatConv(channels)
        self.norm2 = GroupNorm(GROUPS, channels)
        self.conv2 = ConcatConv(channels)
        self.norm3 = GroupNorm(GROUPS, channels)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        """Evaluate f at the times ``[rows]`` and states ``[rows, channels, 6, 6]``."""
        out = self.conv1(t, torch.relu(self.norm1(z)))
        out = self.conv2(t, torch.relu(self.norm2(out)))
        derivative: Tensor = self.norm3(out)
        return derivative


class Stem(nn.Sequential):
    """The paper's: from pixels of 0..255, ``[rows, 28, 28]``, to the state at t = 0, ``[rows, 64, 6, 6]``."""

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


class StridedStem(nn.Sequential):
    """From pixels to the same state at a tenth of the multiplications: the first convolution strides already."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(
            Normalise(normalisation),
            nn.Conv2d(1, CHANNELS, 4, stride=2),
            GroupNorm(GROUPS, CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2),
        )


class WideStem(nn.Sequential):
    """From pixels to a state of more channels, ``[rows, 96, 6, 6]``, which a narrow first convolution keeps cheap."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(
            Normalise(normalisation),
            nn.Conv2d(1, WIDE // 2, 4, stride=2),
            GroupNorm(GROUPS // 2, WIDE // 2),
            nn.ReLU(),
            nn.Conv2d(WIDE // 2, WIDE, 3, stride=2),
        )


class ODENet(Network):
    """A classifier whose depth is the solve of an ODE on [0, 1]; 208,266 parameters for ten classes.

    Args:
        normalisation: of the pixels that it is fitted on.
        classes: the number of classes.
    """

    stem_type: type[Stem | StridedStem | WideStem] = Stem
    channels = CHANNELS

    def __init__(self, normalisation: Normalisation, classes: int = 10) -> None:
        stem, dynamics = self.stem_type(normalisation), Dynamics(self.channels)
        head = Head(classes, self.channels)
        super().__init__(stem, head)
        self.dynamics = dynamics

    def step(self, method: str) -> Step:
        """One step of a method on this network's dynamics."""
        return Step(self.dynamics, METHODS[method])

    def forward(
        self,
        images: Tensor,
        solver: SolverSettings = DEFAULT_SOLVER,
        *,
        adjoint: bool = False,
        observe: Observer | None = None,
    ) -> Tensor:
        """Classify images ``[rows, 28, 28]`` of 0..255.

        Args:
            images: uint8, or floating on the same scale.
            solver: the method and its tolerances or steps.
            adjoint: whether a gradient is to come from the adjoint equation instead of through the solver.
            observe: sees each attempted step.

        Returns:
            The logits ``[rows, classes]``.
        """
        z = self.stem(images).to(self.dynamics.norm1.weight.dtype)  # autocast may compute f, but not carry the state
        solve_for = solve_with_adjoint if adjoint else solve
        solution = solve_for(self.step(solver.method), z, **solver.arguments, observe=observe)
        logits: Tensor = self.head(solution.z)
        return logits


class StridedODENet(ODENet):
    """The same with a stem of a tenth of the cost; 114,314 parameters for ten classes."""

    stem_type = StridedStem


class WideODENet(ODENet):
    """A strided stem and a state of 96 channels: most parameters are those of f; 212,026 parameters for ten classes."""

    stem_type = WideStem
    channels = WIDE


class StemOnly(Network):
    """The ODE-Net without its ODE, to see what that adds; 132,874 parameters for ten classes."""

    def __init__(self, normalisation: Normalisation, classes: int = 10) -> None:
        super().__init__(Stem(normalisation), Head(classes))
