"""The ResNet: its blocks and their number."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from models.networks.layers import CHANNELS, GROUPS, Normalisation
from models.networks.resnet import ResidualBlock, ResNet

NORMALISATION = Normalisation(mean=0.25, std=0.5)
BLOCK_PARAMETERS = 2 * 2 * CHANNELS + 2 * 9 * CHANNELS**2
"""The parameters of a residual block: the scales and shifts of two normalisations, and two kernels."""


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("blocks", [0, 1, 6, 7])
def test_every_block_adds_the_same_number_of_parameters(blocks: int) -> None:
    """The number of blocks does not change the output shape of the stem."""
    network = ResNet(NORMALISATION, blocks=blocks)
    assert parameters(network) == 601_482 + (blocks - 6) * BLOCK_PARAMETERS
    assert parameters(ResidualBlock()) == BLOCK_PARAMETERS
    assert network.stem(torch.zeros(2, 28, 28)).shape == (2, CHANNELS, 7, 7)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 13, 26])
def test_the_stride_divides_the_height_and_the_width(stride: int, side: int) -> None:
    shape = ResidualBlock(stride)(torch.zeros(2, CHANNELS, side, side)).shape
    assert shape == (2, CHANNELS, -(-side // stride), -(-side // stride))


def test_a_block_whose_last_kernel_is_zero_is_the_identity() -> None:
    """The convolutions of a block compute the difference between its output and its input."""
    block, x = ResidualBlock(), torch.randn(2, CHANNELS, 7, 7)
    assert (block(x) - x).abs().max() > 0.1
    nn.init.zeros_(block.conv2.weight)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_block_normalises_before_each_of_its_two_convolutions(stride: int) -> None:
    """The order follows He et al. 2016. The shortcut of a strided block starts after the first rectifier."""
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
