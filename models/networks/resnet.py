"""The ResNet of table 1 of Chen et al. 2018 (arXiv 1806.07366). It normalises before each convolution."""

import torch
from torch import Tensor, nn

from models.networks.layers import CHANNELS, GROUPS, GroupNorm, Head, Normalisation, Normalise
from models.networks.network import Network

BLOCKS = 6


class ResidualBlock(nn.Module):
    """``x + g(x)``, where g has two convolutions, and a normalisation and a rectifier precede each of them.

    Args:
        stride: the stride of the first convolution. If it is above 1, the shortcut is a 1x1 convolution of the same
            stride.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, CHANNELS)
        self.conv1 = nn.Conv2d(CHANNELS, CHANNELS, 3, stride, padding=1, bias=False)
        self.norm2 = GroupNorm(GROUPS, CHANNELS)
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(CHANNELS, CHANNELS, 1, stride, bias=False) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[rows, 64, height, width]`` to the same shape with height and width divided by the stride."""
        activated = torch.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        residual: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(activated))))
        return shortcut + residual


class ResNet(Network):
    """Two strided residual blocks that reduce the picture to 7x7, and six more blocks at that size.

    It has 601,482 parameters for ten classes.

    Args:
        normalisation: how the network scales pixels.
        classes: the number of classes.
        blocks: the number of residual blocks after the two strided blocks; the paper uses six.
    """

    def __init__(self, normalisation: Normalisation, classes: int = 10, blocks: int = BLOCKS) -> None:
        stem = nn.Sequential(
            Normalise(normalisation),
            nn.Conv2d(1, CHANNELS, 3),
            ResidualBlock(stride=2),
            ResidualBlock(stride=2),
            *(ResidualBlock() for _ in range(blocks)),
        )
        super().__init__(stem, Head(classes))
