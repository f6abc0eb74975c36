"""Augmentation: how far pictures are moved, and that the generator is the only source of randomness."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor
from torch.testing import assert_close

from models.form import SIDE
from training.appearance import Appearance
from training.augment import Augmentation, augment
from training.data import Dataset

NONE = Augmentation(rotation=0, scale=0, shear=0, shift=0, elastic=0, control_points=4)
ALL = Augmentation(rotation=15, scale=0.2, shear=0.2, shift=3, elastic=1, control_points=5)
SOME = {"share": 0.5, "most": 0.8}
LOOKS = dict.fromkeys(Appearance.model_fields, SOME)
KINDS = {"rotation": 30.0, "scale": 0.3, "shear": 0.3, "shift": 3.0, "elastic": 1.5}


def only(**amounts: float | dict[str, float]) -> Augmentation:
    """Augmentation of only the named kinds."""
    return Augmentation.model_validate({**NONE.model_dump(), **amounts})


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(x: float, y: float, width: float = 1.5) -> Tensor:
    """A bright spot whose centre is at (x, y), in pixels from the centre of the picture."""
    along = torch.arange(SIDE) - (SIDE - 1) / 2
    return 255 * torch.exp(-((along.view(1, -1) - x) ** 2 + (along.view(-1, 1) - y) ** 2) / (2 * width**2))


def centres(images: Tensor) -> Tensor:
    """The centres of mass (x, y), in pixels from the centre of the picture, ``[rows, 2]``."""
    along = torch.arange(SIDE) - (SIDE - 1) / 2
    mass = images.sum((1, 2))
    return torch.stack([(images.sum(1) * along).sum(1) / mass, (images.sum(2) * along).sum(1) / mass], dim=1)


@pytest.fixture(scope="module")
def images(mnist: Dataset) -> Tensor:
    return mnist.fit.images[:64]


def test_zero_amounts_do_not_change_the_pictures(images: Tensor) -> None:
    assert_close(augment(images, NONE, generator()), images.float(), rtol=0, atol=1e-3 * 255)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_augmentation_keeps_the_shape_and_the_range(images: Tensor, dtype: torch.dtype) -> None:
    moved = augment(images.to(dtype), ALL, generator())
    assert moved.shape == images.shape
    assert moved.dtype == torch.float32
    assert moved.min() >= 0
    assert 200 < moved.max() <= 255.001
    assert (moved - images.float()).abs().flatten(1).max(1).values.min() > 10, "every picture is moved"


def test_augmentation_does_not_change_its_input(images: Tensor) -> None:
    before = images.clone()
    augment(images, ALL, generator())
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_given_generator_is_the_only_source_of_randomness(images: Tensor, kind: str) -> None:
    amount = only(**{kind: KINDS[kind]})
    torch.manual_seed(1)
    first = augment(images, amount, generator(5))
    torch.manual_seed(2)
    assert torch.equal(augment(images, amount, generator(5)), first)
    assert not torch.equal(augment(images, amount, generator(6)), first)


def test_augmentation_does_not_use_the_global_generator(images: Tensor) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    augment(images, ALL, generator())
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_every_row_has_a_different_map(images: Tensor, kind: str) -> None:
    """The same picture in every row gives a different result in every row."""
    moved = augment(images[:1].expand(16, -1, -1), only(**{kind: KINDS[kind]}), generator())
    distances = torch.pdist(moved.flatten(1))
    assert distances.min() > 1


def test_a_row_does_not_depend_on_the_other_rows(images: Tensor) -> None:
    """A blank picture stays blank, and it does not change the result of the other pictures."""
    blanked = images.clone()
    blanked[::2] = 0
    among, alone = augment(images, ALL, generator()), augment(blanked, ALL, generator())
    assert torch.equal(alone[::2], torch.zeros_like(alone[::2]))
    assert torch.equal(alone[1::2], among[1::2])


def test_a_shift_is_uniform_within_its_bound() -> None:
    moved = centres(augment(blob(0, 0).expand(2000, -1, -1), only(shift=4), generator()))
    assert moved.abs().max() <= 4.01
    assert (moved.amax(0) > 3.9).all()
    assert (moved.amin(0) < -3.9).all()
    assert_close(moved.mean(0), torch.zeros(2), rtol=0, atol=0.25)
    assert_close(moved.std(0), torch.full((2,), 4 / 3**0.5), rtol=0.05, atol=0)
    assert abs(float(torch.corrcoef(moved.T)[0, 1])) < 0.1, "the axes are drawn independently"


def test_a_shift_moves_the_whole_picture() -> None:
    """Two spots are moved by the same vector."""
    spots = torch.stack([blob(-4, 2), blob(3, -3)])
    moved = torch.stack([centres(augment(spot.expand(50, -1, -1), only(shift=3), generator())) for spot in spots])
    first, second = moved - centres(spots).unsqueeze(1)
    assert first.abs().max() > 1
    assert_close(first, second, rtol=0, atol=0.02)


def test_a_rotation_is_about_the_centre_and_within_its_bound() -> None:
    moved = centres(augment(blob(8, 0).expand(2000, -1, -1), only(rotation=40), generator()))
    assert_close(moved.norm(dim=1), torch.full((2000,), 8.0), rtol=0.01, atol=0)
    angles = torch.rad2deg(torch.atan2(moved[:, 1], moved[:, 0]))
    assert 39 < angles.max() < 40.5
    assert -40.5 < angles.min() < -39
    assert_close(angles.mean(), torch.tensor(0.0), rtol=0, atol=2)


def test_a_scale_is_drawn_for_each_axis_within_its_bound() -> None:
    """A map goes from the new picture's coordinates to the old picture's, so a spot at 5 moves to 5 / (1 ± 0.2)."""
    moved = centres(augment(blob(5, 5).expand(2000, -1, -1), only(scale=0.2), generator()))
    assert (moved.amin(0) > 5 / 1.21).all()
    assert (moved.amin(0) < 5 / 1.19).all()
    assert (moved.amax(0) < 5 / 0.79).all()
    assert (moved.amax(0) > 5 / 0.81).all()
    assert abs(float(torch.corrcoef(moved.T)[0, 1])) < 0.1


def test_a_shear_moves_pixels_along_one_axis() -> None:
    moved = centres(augment(blob(0, 6).expand(2000, -1, -1), only(shear=0.5), generator()))
    assert_close(moved[:, 1], torch.full((2000,), 6.0), rtol=0, atol=0.02)
    assert 2.9 < moved[:, 0].max() < 3.02
    assert -3.02 < moved[:, 0].min() < -2.9


def test_a_share_of_the_pictures_is_moved_further() -> None:
    moved = centres(
        augment(blob(0, 0).expand(2000, -1, -1), only(shift=2, far={"share": 0.3, "factor": 4}), generator())
    )
    further = float((moved.abs().amax(1) > 2.01).float().mean())
    assert moved.abs().max() > 7.5
    assert moved.abs().max() <= 8.01
    assert further == pytest.approx(0.3 * (1 - 0.25**2), abs=0.03)


def test_a_share_of_the_pictures_shrinks() -> None:
    """A picture shrinks equally on both axes, at most by the factor 1 / (1 + amount)."""
    moved = centres(augment(blob(8, 8).expand(2000, -1, -1), only(smaller={"share": 0.3, "most": 1}), generator()))
    assert_close(moved[:, 0], moved[:, 1], rtol=0.01, atol=0)
    assert float((moved[:, 0] < 7.9).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert 3.9 < moved.min() < 4.2


def test_a_share_of_the_pictures_becomes_wide_or_tall() -> None:
    moved = centres(augment(blob(6, 6).expand(2000, -1, -1), only(aspect={"share": 0.3, "most": 1}), generator()))
    ratios = moved[:, 0] / moved[:, 1]
    assert_close(moved[:, 0] * moved[:, 1], torch.full((2000,), 36.0), rtol=0.01, atol=0)
    assert float((ratios > 1.01).float().mean()) == pytest.approx(0.15, abs=0.03)
    assert float((ratios < 0.99).float().mean()) == pytest.approx(0.15, abs=0.03)
    assert 1.9 < ratios.max() < 2.02


def test_the_appearance_is_changed_after_the_map(images: Tensor) -> None:
    """The changes use the same generator."""
    moved, looks = augment(images, ALL, generator()), {**ALL.model_dump(), "appearance": LOOKS}
    changed, again = (augment(images, Augmentation.model_validate(looks), generator()) for _ in range(2))
    assert torch.equal(changed, again)
    assert not torch.equal(changed, moved)
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_an_elastic_map_moves_near_points_together_and_distant_points_independently() -> None:
    amount = only(elastic=1.0)
    left, near_left, right = (
        centres(augment(spot.expand(500, -1, -1), amount, generator()))[:, 0] - x
        for spot, x in ((blob(-7, 0, 1), -7), (blob(-6, 0, 1), -6), (blob(7, 0, 1), 7))
    )
    of_neighbours = float(torch.corrcoef(torch.stack([left, near_left]))[0, 1])
    of_distant = float(torch.corrcoef(torch.stack([left, right]))[0, 1])
    assert 0.3 < left.std() < 1.5
    assert of_neighbours > 0.8
    assert abs(of_distant) < 0.3


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rotation", -1),
        ("rotation", 181),
        ("scale", 1),
        ("shear", 1.5),
        ("shift", 29),
        ("elastic", -0.1),
        ("elastic", float("nan")),
        ("control_points", 1),
        ("control_points", 29),
    ],
)
def test_amounts_out_of_range_are_refused(field: str, value: float) -> None:
    with pytest.raises(ValidationError, match=field):
        only(**{field: value})
