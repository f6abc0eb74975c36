"""The arithmetic of the multilayer perceptron."""

import torch
from torch.testing import assert_close

from models.networks.layers import Normalisation
from models.networks.mlp import MLP


def test_the_logits_equal_two_matrix_products_with_a_rectifier_between_them() -> None:
    torch.manual_seed(0)
    network = MLP(Normalisation(mean=0.25, std=0.5), classes=3)
    weight1, bias1, weight2, bias2 = network.parameters()
    assert [weight.shape for weight in (weight1, weight2)] == [(300, 784), (3, 300)]
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    pixels = (images.flatten(1) / 255 - 0.25) / 0.5
    hidden = (pixels @ weight1.T + bias1).clamp(min=0)
    assert_close(network(images), hidden @ weight2.T + bias2)
