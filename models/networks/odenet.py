"""The ODE-Net of Chen et al. 2018, *Neural Ordinary Differential Equations* (arXiv 1806.07366), section 3.

The paper's RK-Net is the same network. Only the fit differs: the gradient of an RK-Net goes through the solver
instead of through the adjoint equation.
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
"""The number of channels of the state of `WideODENet`."""

DEFAULT_SOLVER = SolverSettings.adaptive("dopri5", 1e-3)


class Dynamics(nn.Module):
    """The function f of ``dz/dt = f(t, z)``: two convolutions that also read the time, and three group normalisations.

    A group normalisation precedes each convolution, and one follows the second convolution.
    """

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
    """The paper's stem. It maps pixels in 0..255, ``[rows, 28, 28]``, to the state at t = 0, ``[rows, 64, 6, 6]``."""

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
    """A stem with the same input and output shapes as `Stem` and a tenth of its multiplications.

    The strided stem is cheaper because its first convolution has a stride already.
    """

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(
            Normalise(normalisation),
            nn.Conv2d(1, CHANNELS, 4, stride=2),
            GroupNorm(GROUPS, CHANNELS),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2),
        )


class WideStem(nn.Sequential):
    """A stem whose state has more channels, ``[rows, 96, 6, 6]``. The narrow first convolution keeps the stem cheap."""

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__(
            Normalise(normalisation),
            nn.Conv2d(1, WIDE // 2, 4, stride=2),
            GroupNorm(GROUPS // 2, WIDE // 2),
            nn.ReLU(),
            nn.Conv2d(WIDE // 2, WIDE, 3, stride=2),
        )


class ODENet(Network):
    """A classifier that solves an ODE on [0, 1] between its stem and its head; 208,266 parameters for ten classes.

    Args:
        normalisation: how the network scales pixels.
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
        """One step of a method, applied to this network's dynamics."""
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
            adjoint: whether the gradient comes from the adjoint equation instead of through the solver.
            observe: called after each attempted step.

        Returns:
            The logits ``[rows, classes]``.
        """
        z = self.stem(images).to(self.dynamics.norm1.weight.dtype)  # autocast must not reduce the state's precision
        solve_for = solve_with_adjoint if adjoint else solve
        solution = solve_for(self.step(solver.method), z, **solver.arguments._asdict(), observe=observe)
        logits: Tensor = self.head(solution.z)
        return logits


class StridedODENet(ODENet):
    """An ODE-Net whose stem costs a tenth of the paper's stem; 114,314 parameters for ten classes."""

    stem_type = StridedStem


class WideODENet(ODENet):
    """An ODE-Net with a strided stem and a state of 96 channels.

    It has 212,026 parameters for ten classes, and most of them are in f.
    """

    stem_type = WideStem
    channels = WIDE


class StemOnly(Network):
    """The ODE-Net without its ODE, to measure what the ODE adds; 132,874 parameters for ten classes."""

    def __init__(self, normalisation: Normalisation, classes: int = 10) -> None:
        super().__init__(Stem(normalisation), Head(classes))
