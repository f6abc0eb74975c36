"""Outliers: pictures of no digit, most in the form that the service brings pictures to, all by the seed."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from training.data import Dataset, Split
from training.fonts import font
from training.outliers import CHARACTERS, KINDS, MIRRORED, make_outliers


def of_kind(digits: Split, name: str, rows: int = 40) -> npt.NDArray[np.uint8]:
    place = [kind.__name__ for kind in KINDS].index(f"_{name}")
    return make_outliers(digits, rows * len(KINDS), seed=1)[place :: len(KINDS)].numpy()


def test_they_are_pictures_that_follow_from_the_seed(mnist: Dataset) -> None:
    made, again, other = (make_outliers(mnist.fit, 60, seed) for seed in (1, 1, 2))
    assert made.shape == (60, 28, 28)
    assert made.dtype == torch.uint8
    assert torch.equal(made, again)
    assert not torch.equal(made, other)
    assert torch.equal(make_outliers(mnist.fit, 7, seed=1), made[:7]), "one after another"


@pytest.mark.parametrize("kind", ["character", "written", "strokes", "several", "curve", "polygon"])
def test_drawings_have_mnists_form(mnist: Dataset, kind: str) -> None:
    """Their longer side is 20, or 19 with a faint edge, and the centre of mass at the centre as far as it can be."""
    for picture in of_kind(mnist.fit, kind).astype(float):
        box = [np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0)]
        assert max(np.ptp(side) + 1 for side in box) in (19, 20)
        assert picture.max() == 255
        for axis, side in zip((1, 0), box, strict=True):
            centred = abs(np.average(np.arange(28), weights=picture.sum(axis=axis)) - 14) <= 0.5
            assert centred or side[0] == 0 or side[-1] == 27


def test_mirrored_digits_are_those_that_are_none_in_a_mirror(mnist: Dataset) -> None:
    some = Split(mnist.fit.images[:200], mnist.fit.labels[:200])
    labels = {picture.numpy().tobytes(): int(label) for picture, label in zip(*some, strict=True)}
    made = of_kind(some, "mirrored", rows=100)
    assert {labels[picture[:, ::-1].tobytes()] for picture in made} == set(MIRRORED)


def test_textures_are_grey_and_none_is_blank(mnist: Dataset) -> None:
    made = of_kind(mnist.fit, "texture", rows=100)
    shares = (made > 0).mean(axis=(1, 2))
    assert shares.min() > 0.005
    assert shares.max() > 0.9
    assert made.max(axis=(1, 2)).min() > 127
    assert ((made > 0) & (made < 255)).any(axis=(1, 2)).mean() > 0.7


def test_every_font_has_its_characters() -> None:
    """A font that lacks one draws the same box for it as for what no font has."""
    for face, character in CHARACTERS:
        mask = font(face).getmask
        assert bytes(mask(character)) not in (bytes(mask("\ufffe")), b""), (face, character)


def test_without_a_digit_to_mirror_there_are_none(mnist: Dataset) -> None:
    zeros = mnist.fit.labels == 0
    with pytest.raises(ValueError, match=r"the digits 3, 4, 6, 7, 9 mirrored, and the split of \d+ has none"):
        make_outliers(Split(mnist.fit.images[zeros], mnist.fit.labels[zeros]), 6, seed=0)
