"""All networks by name: their sizes, their shapes, and the independence of the images in a batch."""

from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from models.artifact import WITH_ODE, NetworkName
from models.networks.layers import Normalisation
from models.networks.odenet import ODENet
from models.networks.registry import NETWORKS

NORMALISATION = Normalisation(mean=0.25, std=0.5)
PARAMETERS: dict[NetworkName, int] = {
    "mlp": 238_510,
    "resnet": 601_482,
    "odenet": 208_266,
    "odenet-strided": 114_314,
    "odenet-wide": 212_026,
    "stem-only": 132_874,
}

every_network = pytest.mark.parametrize("name", NETWORKS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(20180619)


def random_images(rows: int) -> Tensor:
    """Pictures of noise; every second picture is dark."""
    images = torch.randint(0, 256, (rows, 28, 28), dtype=torch.uint8)
    images[::2] //= 16
    return images


def test_every_network_name_has_a_network() -> None:
    assert set(NETWORKS) == set(get_args(NetworkName)) == set(PARAMETERS)


@every_network
def test_the_number_of_parameters(name: NetworkName) -> None:
    assert sum(parameter.numel() for parameter in NETWORKS[name](NORMALISATION).parameters()) == PARAMETERS[name]


@every_network
@pytest.mark.parametrize(("rows", "classes"), [(1, 10), (3, 10), (3, 2)])
def test_the_logits_have_one_entry_per_image_and_class(name: NetworkName, rows: int, classes: int) -> None:
    assert NETWORKS[name](NORMALISATION, classes)(random_images(rows)).shape == (rows, classes)


@every_network
def test_bytes_and_floats_give_the_same_logits(name: NetworkName) -> None:
    network, images = NETWORKS[name](NORMALISATION), random_images(3)
    assert_close(network(images), network(images.float()))


@every_network
@torch.no_grad()
def test_an_image_gets_the_same_logits_alone_and_in_any_batch(name: NetworkName) -> None:
    """No network uses batch statistics, neither in training mode nor in evaluation mode."""
    network, images = NETWORKS[name](NORMALISATION), random_images(5)
    for mode in (True, False):
        logits = network.train(mode)(images)
        assert (logits[0] - logits[1]).abs().max() > 1e-2, "this test needs two images with different logits"
        for rows in ([0], [3], [4, 1], [4, 3, 2, 1, 0]):
            assert_close(network(images[rows]), logits[rows], rtol=0, atol=1e-4)


@every_network
def test_the_network_normalises_its_pixels(name: NetworkName) -> None:
    """Two networks with the same weights agree if their different normalisations map their pixels to the same input."""
    network, other = (NETWORKS[name](normalisation) for normalisation in (NORMALISATION, Normalisation(0.5, 1.0)))
    other.load_state_dict(network.state_dict())
    images = random_images(2)
    assert_close(other(2.0 * images), network(images), rtol=1e-4, atol=1e-4)


@every_network
def test_every_parameter_has_a_gradient(name: NetworkName) -> None:
    network = NETWORKS[name](NORMALISATION)
    loss = F.cross_entropy(network(random_images(4)), torch.tensor([0, 1, 2, 3]))
    names, parameters = zip(*network.named_parameters(), strict=True)
    for parameter, gradient in zip(names, torch.autograd.grad(loss, parameters), strict=True):
        assert torch.isfinite(gradient).all(), parameter
        assert (gradient != 0).any(), parameter


@every_network
def test_the_same_seed_gives_the_same_initial_weights(name: NetworkName) -> None:
    torch.manual_seed(1)
    network, other = (NETWORKS[name](NORMALISATION) for _ in range(2))
    torch.manual_seed(1)
    again = NETWORKS[name](NORMALISATION)
    images = random_images(1)
    assert torch.equal(network(images), again(images))
    assert not torch.equal(network(images), other(images))


def test_with_ode_lists_exactly_the_networks_that_solve_an_ode() -> None:
    assert [name for name, network in NETWORKS.items() if issubclass(network, ODENet)] == list(WITH_ODE)
