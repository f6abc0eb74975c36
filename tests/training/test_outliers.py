"""Outliers: pictures without a digit, most of them in MNIST's form, that the seed determines."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from training.data import Dataset, Split
from training.fonts import font
from training.outliers import CHARACTERS, KINDS, MIRRORED, make_outliers


def of_kind(digits: Split, name: str, rows: int = 40) -> npt.NDArray[np.uint8]:
    """Outliers of one kind."""
    position = [kind.__name__ for kind in KINDS].index(f"_{name}")
    return make_outliers(digits, rows * len(KINDS), seed=1)[position :: len(KINDS)].numpy()


def test_the_seed_determines_the_outliers(mnist: Dataset) -> None:
    made, again, other = (make_outliers(mnist.fit, 60, seed) for seed in (1, 1, 2))
    assert made.shape == (60, 28, 28)
    assert made.dtype == torch.uint8
    assert torch.equal(made, again)
    assert not torch.equal(made, other)
    assert torch.equal(make_outliers(mnist.fit, 7, seed=1), made[:7]), "fewer outliers are the first of more outliers"


@pytest.mark.parametrize("kind", ["character", "written", "strokes", "several", "curve", "polygon"])
def test_drawings_have_the_mnist_form(mnist: Dataset, kind: str) -> None:
    """The longer side has 20 pixels, or 19 with a faint edge. The ink is centred, unless an edge limits it."""
    for picture in of_kind(mnist.fit, kind).astype(float):
        box = [np.flatnonzero(picture.any(axis=axis)) for axis in (1, 0)]
        assert max(np.ptp(side) + 1 for side in box) in (19, 20)
        assert picture.max() == 255
        for axis, side in zip((1, 0), box, strict=True):
            centred = abs(np.average(np.arange(28), weights=picture.sum(axis=axis)) - 14) <= 0.5
            assert centred or side[0] == 0 or side[-1] == 27


def test_only_digits_that_look_like_no_digit_in_a_mirror_are_mirrored(mnist: Dataset) -> None:
    some = Split(mnist.fit.images[:200], mnist.fit.labels[:200])
    labels = {picture.numpy().tobytes(): int(label) for picture, label in zip(*some, strict=True)}
    made = of_kind(some, "mirrored", rows=100)
    assert {labels[picture[:, ::-1].tobytes()] for picture in made} == set(MIRRORED)


def test_textures_have_grey_levels_and_none_is_blank(mnist: Dataset) -> None:
    made = of_kind(mnist.fit, "texture", rows=100)
    shares = (made > 0).mean(axis=(1, 2))
    assert shares.min() > 0.005
    assert shares.max() > 0.9
    assert made.max(axis=(1, 2)).min() > 127
    assert ((made > 0) & (made < 255)).any(axis=(1, 2)).mean() > 0.7


def test_every_font_has_the_characters_that_are_drawn_with_it() -> None:
    """A font draws the same box for every character that it lacks, such as U+FFFE."""
    for face, character in CHARACTERS:
        mask = font(face).getmask
        assert bytes(mask(character)) not in (bytes(mask("\ufffe")), b""), (face, character)


def test_a_split_without_digits_to_mirror_is_refused(mnist: Dataset) -> None:
    zeros = mnist.fit.labels == 0
    with pytest.raises(ValueError, match=r"mirrored digits 3, 4, 6, 7, 9, but the split of \d+ images has none of"):
        make_outliers(Split(mnist.fit.images[zeros], mnist.fit.labels[zeros]), 6, seed=0)
