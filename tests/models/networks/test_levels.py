"""Stretched levels: contrast, brightness and polarity do not change the picture that a network reads."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from models.networks.layers import SMALLEST_RANGE, Normalisation, Normalise, stretch
from models.networks.odenet import ODENet
from models.solvers.settings import SolverSettings
from tests.examples import examples
from training.data import Dataset

STRETCHED = Normalisation(mean=0.25, std=0.5, levels="stretched")


@pytest.fixture(scope="module")
def pictures(mnist: Dataset) -> Tensor:
    return mnist.validation.images[:50].float()


def test_stretch_hardly_changes_the_digits_of_mnist(mnist: Dataset) -> None:
    """Only digits whose strongest ink is below 255 change, by about one level."""
    pictures = mnist.validation.images.float()
    assert_close(stretch(pictures), pictures, rtol=0, atol=1.01)
    assert_close(stretch(pictures).amax((1, 2)), torch.full((5_000,), 255.0))


@given(contrast=st.floats(0.05, 1), paper=st.floats(0, 1), inverted=st.booleans())
@examples(0.6)
def test_contrast_brightness_and_polarity_do_not_change_the_result(
    pictures: Tensor, contrast: float, paper: float, inverted: bool
) -> None:
    shown = paper * (1 - contrast) * 255 + contrast * (255 - pictures if inverted else pictures)
    assert_close(stretch(shown), stretch(pictures), rtol=0, atol=0.01)


def test_a_picture_with_16_whole_levels_is_restored_up_to_rounding(pictures: Tensor) -> None:
    """Rounding to whole levels loses at most half a level of the 16 levels of ink."""
    shown = (100 + pictures * 16 / 255).round()
    assert (stretch(shown) - stretch(pictures)).abs().max() <= 255 / 16


@pytest.mark.parametrize("level", [0.0, 7.0, 255.0])
def test_a_blank_picture_becomes_paper(level: float) -> None:
    assert torch.equal(stretch(torch.full((2, 28, 28), level)), torch.zeros(2, 28, 28))


def test_the_noise_of_an_empty_picture_stays_faint() -> None:
    noise = torch.zeros(1, 28, 28)
    noise[0, 3, 5] = 2
    assert stretch(noise).max() == 255 * 2 / SMALLEST_RANGE


def test_a_picture_does_not_depend_on_the_other_pictures_of_its_batch(pictures: Tensor) -> None:
    assert torch.equal(stretch(pictures)[7:9], stretch(pictures[7:9]))


def test_normalise_stretches_if_levels_is_stretched(pictures: Tensor) -> None:
    expected = Normalise(STRETCHED._replace(levels="fixed"))(stretch(pictures))
    assert_close(Normalise(STRETCHED)(pictures.to(torch.uint8)), expected)
    assert not torch.equal(Normalise(STRETCHED._replace(levels="fixed"))(pictures / 2), expected)


@torch.no_grad()
def test_a_network_gives_the_same_logits_for_changed_levels(pictures: Tensor) -> None:
    torch.manual_seed(0)
    network, solver = ODENet(STRETCHED), SolverSettings(method="euler", steps=1)
    assert_close(network(230 - pictures[:4] / 2, solver), network(pictures[:4], solver), rtol=1e-3, atol=1e-4)
