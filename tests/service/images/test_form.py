"""The check for MNIST's form accepts all of MNIST's images and refuses changed ones."""

import gzip

import numpy as np
import pytest

from service.images.errors import RowError
from service.images.form import in_form
from service.images.normalise import rows_to_mnist, to_mnist
from tests.digits import MNIST
from tests.pictures import DIGITS, SEVEN, Pixels


@pytest.fixture(scope="module")
def training() -> Pixels:
    """MNIST's training images, from which the limits were measured."""
    content = gzip.decompress((MNIST / "train-images-idx3-ubyte.gz").read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)


def test_all_of_mnists_images_are_in_form(training: Pixels) -> None:
    assert in_form(training).all()
    assert in_form(DIGITS).all()


def test_the_answer_does_not_depend_on_the_batch() -> None:
    some = np.concatenate([DIGITS[:50], np.roll(DIGITS[:50], 1, axis=2)])
    alone = [bool(in_form(image[np.newaxis])[0]) for image in some]
    assert in_form(some).tolist() == alone


CHANGES = {
    "negative": 255 - SEVEN,
    "moved by two pixels": np.roll(SEVEN, 2, axis=0),
    "faint": SEVEN // 2,
    "on grey paper": np.maximum(SEVEN, 60),
    "noisy": np.clip(SEVEN + np.random.default_rng(0).normal(0, 40, (28, 28)), 0, 255).astype(np.uint8),
    "0 and 1": (SEVEN > 127).astype(np.uint8),
    "small": np.pad(SEVEN[::2, ::2], 7),
    "blank": np.zeros((28, 28), np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_not_in_form(change: str) -> None:
    assert not in_form(CHANGES[change][np.newaxis])[0]


def test_only_the_rows_that_are_not_in_form_are_changed() -> None:
    rows = np.stack([DIGITS[0], 255 - DIGITS[1], np.roll(DIGITS[2], 3, axis=1), DIGITS[3]])
    converted = rows_to_mnist(rows)
    for row in range(4):
        assert np.array_equal(converted[row], to_mnist(rows[row]))
    assert np.array_equal(converted[[0, 1, 3]], DIGITS[[0, 1, 3]])


def test_rows_in_form_are_not_copied() -> None:
    assert rows_to_mnist(DIGITS[:4]) is not None
    assert np.shares_memory(rows_to_mnist(DIGITS[:4]), DIGITS)


@pytest.mark.parametrize(("scale", "highest"), [(1, 1), (0, 0)])
def test_a_row_without_ink_is_refused_with_its_levels(scale: int, highest: int) -> None:
    rows = np.stack([SEVEN, (SEVEN > 127).astype(np.uint8) * np.uint8(scale)])
    with pytest.raises(RowError, match=f"its levels go from 0 to {highest}, of 0 to 255") as caught:
        rows_to_mnist(rows)
    assert caught.value.row == 1
