"""The appearance of pictures: the effect of each change, its frequency, and the independence of the rows."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from training.appearance import CHANGES, Appearance, change
from training.chance import Chance
from training.data import Dataset

MOST = {
    "thickness": 1.5,
    "outline": 1.5,
    "line": 2.0,
    "scribble": 2.0,
    "inversion": 28.0,
    "cutout": 8.0,
    "defocus": 3.0,
    "motion": 9.0,
    "fog": 0.8,
    "noise": 0.3,
    "specks": 0.2,
    "levels": 0.9,
}

every_kind = pytest.mark.parametrize("kind", CHANGES)


def only(kind: str, share: float = 1.0) -> Appearance:
    """Changes of only one kind."""
    return Appearance.model_validate(
        {field: Chance(share=share if field == kind else 0, most=most) for field, most in MOST.items()}
    )


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed(images: Tensor, kind: str, amount: float, seed: int = 1) -> Tensor:
    """Apply a change with exactly this amount to each row."""
    return CHANGES[kind](images, torch.full((len(images),), amount), generator(seed))


@pytest.fixture(scope="module")
def images(mnist: Dataset) -> Tensor:
    return mnist.fit.images[:64].float()


def test_every_field_has_a_change() -> None:
    assert set(CHANGES) == set(Appearance.model_fields) == set(MOST)


def test_newer_changes_may_be_left_out_of_a_recipe(images: Tensor) -> None:
    appearance = only("line", share=0).model_dump(exclude={"outline", "scribble", "inversion"})
    assert torch.equal(change(images, Appearance.model_validate(appearance), generator()), images)


@every_kind
def test_a_change_keeps_the_shape_and_the_range(images: Tensor, kind: str) -> None:
    made = change(images, only(kind), generator())
    assert made.shape == images.shape
    assert made.dtype == torch.float32
    assert made.min() >= 0
    assert made.max() <= 255
    assert (made != images).flatten(1).any(1).float().mean() > 0.4, "many pictures are changed"


@every_kind
def test_the_requested_share_of_the_rows_is_changed(images: Tensor, kind: str) -> None:
    picture = images[:1].expand(2_000, -1, -1)
    made = change(picture, only(kind, share=0.2), generator())
    share = float((made != picture).flatten(1).any(1).float().mean())
    assert 0.08 < share < 0.24, "the lower limit is loose, because a cutout may erase an area without ink"


@every_kind
def test_a_share_of_zero_changes_no_picture(images: Tensor, kind: str) -> None:
    assert torch.equal(change(images, only(kind, share=0), generator()), images)


@every_kind
def test_the_given_generator_is_the_only_source_of_randomness(images: Tensor, kind: str) -> None:
    torch.manual_seed(1)
    first = change(images, only(kind), generator(5))
    torch.manual_seed(2)
    assert torch.equal(change(images, only(kind), generator(5)), first)
    assert not torch.equal(change(images, only(kind), generator(6)), first)


@every_kind
def test_a_row_does_not_depend_on_the_other_rows(images: Tensor, kind: str) -> None:
    others = images.clone()
    others[::2] = 0
    among, alone = change(images, only(kind), generator()), change(others, only(kind), generator())
    assert_close(alone[1::2], among[1::2], rtol=0, atol=1e-3)


def test_strokes_become_thicker_or_thinner_and_never_vanish(images: Tensor) -> None:
    made = changed(images, "thickness", 1.5)
    ratios = made.sum((1, 2)) / images.sum((1, 2))
    assert ratios.min() < 0.8
    assert ratios.max() > 1.5
    differences = made - images
    assert (differences.amin((1, 2)) >= 0).logical_or(differences.amax((1, 2)) <= 0).all(), "either thicker or thinner"
    assert (made.amax((1, 2)) > 120).all()


def test_a_line_adds_ink_across_the_picture() -> None:
    made = changed(torch.zeros(100, 28, 28), "line", 2.0) > 0
    reach = torch.maximum(made.any(1).sum(1), made.any(2).sum(1))
    assert (reach >= 10).all(), "each line crosses the picture, dashed or not"


def test_an_outline_is_ink_at_the_edge_of_a_square_and_paper_inside_and_outside() -> None:
    square = torch.zeros(50, 28, 28)
    square[:, 8:20, 8:20] = 255
    made = changed(square, "outline", 1.0)
    for half in (made[:, :14], made[:, 14:]):
        assert (half[:, :, 9:19].amax(1) > 10).all(), "the upper and the lower edge are drawn without a gap"
    assert (made[:, 12:16, 12:16] == 0).all()
    made[:, 5:23, 5:23] = 0
    assert (made == 0).all()


def test_an_outline_of_blank_paper_is_blank_paper() -> None:
    assert (changed(torch.zeros(10, 28, 28), "outline", 1.5) == 0).all()


def test_a_scribble_adds_one_connected_jagged_line(images: Tensor) -> None:
    made = changed(torch.zeros(200, 28, 28), "scribble", 1.5)
    assert ((made > 0).sum((1, 2)) > 15).float().mean() > 0.95, "few lines lie outside the picture"
    assert ((made > 0).sum((1, 2)) < 300).all()
    assert (changed(images, "scribble", 1.5) >= images).all(), "the digit stays"


def test_an_inversion_swaps_black_and_white_in_a_part_of_the_picture(images: Tensor) -> None:
    made = changed(images, "inversion", 14.0)
    swapped = made == 255 - images
    assert (swapped | (made == images)).all()
    assert 0.3 < float(swapped.float().mean()) < 0.7
    assert len({float(row.float().mean()) for row in swapped}) > len(images) / 2, "each row draws its own part"


def test_a_cutout_is_a_rectangle_of_paper() -> None:
    made = changed(torch.full((100, 28, 28), 255.0), "cutout", 8.0) == 0
    for row in made:
        assert row.sum() == row.any(0).sum() * row.any(1).sum()
        assert 1 <= row.any(0).sum() <= 9


@pytest.mark.parametrize(("kind", "amount"), [("defocus", 3.0), ("motion", 9.0)])
def test_a_blur_spreads_the_ink_and_keeps_its_sum(images: Tensor, kind: str, amount: float) -> None:
    made = changed(images, kind, amount)
    assert_close(made.sum((1, 2)), images.sum((1, 2)), rtol=0.1, atol=0)
    assert (made.square().sum((1, 2)) < 0.95 * images.square().sum((1, 2))).all()
    assert_close(changed(images, kind, 1e-6), images, rtol=0, atol=10)


def test_defocus_is_a_disc_and_motion_a_line() -> None:
    spot = torch.zeros(50, 28, 28)
    spot[:, 14, 14] = 255
    disc, line = (changed(spot, kind, amount) for kind, amount in (("defocus", 3.0), ("motion", 9.0)))
    assert_close(disc, disc.transpose(1, 2))
    assert ((disc > 1).sum((1, 2)) > 25).all()
    assert ((line > 1).sum((1, 2)) < 30).all()


def test_fog_moves_every_pixel_towards_one_level(images: Tensor) -> None:
    """The fog has its greatest density at one pixel and the density 0 at another."""
    made = changed(torch.cat([torch.zeros(1, 28, 28), torch.full((1, 28, 28), 255.0)]), "fog", 0.8)
    black, white = changed(torch.zeros(1, 28, 28), "fog", 0.8), changed(torch.full((1, 28, 28), 255.0), "fog", 0.8)
    assert made.min() >= 0
    contrast = (white - black) / 255
    assert float(contrast.min()) == pytest.approx(0.2, abs=1e-3)
    assert float(contrast.max()) == pytest.approx(1, abs=1e-3)


def test_noise_has_the_requested_standard_deviation(images: Tensor) -> None:
    made = changed(images, "noise", 0.2) - images
    assert float(made.mean()) == pytest.approx(0, abs=1)
    assert float(made.std()) == pytest.approx(0.2 * 255, rel=0.02)


def test_specks_change_the_requested_share_of_the_pixels(images: Tensor) -> None:
    made = changed(images, "specks", 0.2)
    assert float((made != images).float().mean()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("amount", [0.2, 0.9])
def test_changed_levels_keep_a_part_of_their_range(images: Tensor, amount: float) -> None:
    made = changed(images, "levels", amount).clamp(0, 255)
    assert torch.equal(made, made.round())
    spread = (made.amax((1, 2)) - made.amin((1, 2))) / 255
    assert spread.max() <= 1 - amount + 0.01
    assert spread.min() >= 0.55 * (1 - amount), "clipping never removes the whole range"
