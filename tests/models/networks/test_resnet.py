"""The ResNet: its blocks, and how many of them there are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from models.networks.layers import CHANNELS, GROUPS, Normalisation
from models.networks.resnet import ResidualBlock, ResNet

NORMALISATION = Normalisation(mean=0.25, std=0.5)
A_BLOCK = 2 * 2 * CHANNELS + 2 * 9 * CHANNELS**2
"""Parameters of a residual block: scale and shift of two normalisations, and two kernels."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("blocks", [0, 1, 6, 7])
def test_every_block_adds_the_same(blocks: int) -> None:
    """And maps 64 pictures of 7x7 to as many of the same size."""
    network = ResNet(NORMALISATION, blocks=blocks)
    assert parameters(network) == 601_482 + (blocks - 6) * A_BLOCK
    assert parameters(ResidualBlock()) == A_BLOCK
    assert network.stem(torch.zeros(2, 28, 28)).shape == (2, CHANNELS, 7, 7)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 13, 26])
def test_a_stride_divides_the_side(stride: int, side: int) -> None:
    shape = ResidualBlock(stride)(torch.zeros(2, CHANNELS, side, side)).shape
    assert shape == (2, CHANNELS, -(-side // stride), -(-side // stride))


def test_a_block_whose_last_kernel_is_zero_changes_nothing() -> None:
    """What it computes is the difference from what it is given."""
    block, x = ResidualBlock(), torch.randn(2, CHANNELS, 7, 7)
    assert (block(x) - x).abs().max() > 0.1
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_is_two_convolutions_each_after_its_normalisation(stride: int) -> None:
    """The order of He et al. 2016; a strided block's shortcut begins behind the first rectifier."""
    block, x = ResidualBlock(stride), torch.randn(2, CHANNELS, 6, 6)
    for norm in (block.norm1, block.norm2):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    first = F.relu(F.group_norm(x, GROUPS, block.norm1.weight, block.norm1.bias))
    residual = F.conv2d(first, block.conv1.weight, stride=stride, padding=1)
    residual = F.group_norm(residual, GROUPS, block.norm2.weight, block.norm2.bias)
    residual = F.conv2d(F.relu(residual), block.conv2.weight, padding=1)
    shortcut = x if block.shortcut is None else F.conv2d(first, block.shortcut.weight, stride=stride)
    assert (block.shortcut is None) == (stride == 1)
    assert_close(block(x), shortcut + residual, rtol=1e-4, atol=1e-4)
