"""Digits from IDX files: the files that ship are read, and the error names an invalid file."""

import gzip
import hashlib
import math
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tests.examples import examples
from training.data import CHECKSUMS, MNIST, DataError, Dataset, load, parse_idx

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
NAMES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

Bytes = npt.NDArray[np.uint8]


def idx(array: Bytes) -> bytes:
    """The content of an IDX file with the array, written after the description of the format."""
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def shipped(name: str) -> Bytes:
    """The array in a shipped file, read without the code under test."""
    content = gzip.decompress((MNIST / f"{name}.gz").read_bytes())
    array = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    return array.reshape(-1, 28, 28) if "images" in name else array


def digits(rows: int) -> tuple[Bytes, Bytes]:
    """Random pictures and labels."""
    generator = np.random.default_rng(rows)
    return generator.integers(0, 256, (rows, 28, 28), np.uint8), (np.arange(rows) % 10).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four plain files without checksums, with one image to fit on."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for prefix, rows in (("train", 5_001), ("t10k", 3)):
        images, labels = digits(rows)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.fixture
def mnist_copy(tmp_path: Path) -> Path:
    """A copy of the shipped folder, for a test to damage."""
    return Path(shutil.copytree(MNIST, tmp_path / "mnist"))


def test_the_shipped_dataset_is_complete(mnist: Dataset) -> None:
    assert mnist.name == "mnist"
    for split, rows in ((mnist.fit, 55_000), (mnist.validation, 5_000), (mnist.test, 10_000)):
        assert split.images.shape == (rows, 28, 28)
        assert split.images.dtype == torch.uint8
        assert split.labels.shape == (rows,)
        assert split.labels.dtype == torch.int64
        assert set(split.labels.tolist()) == set(range(10))


def test_the_last_training_images_are_the_validation_split(mnist: Dataset) -> None:
    images, labels = shipped(TRAIN_IMAGES), shipped(TRAIN_LABELS)
    assert_array_equal(mnist.fit.images.numpy(), images[:55_000])
    assert_array_equal(mnist.fit.labels.numpy(), labels[:55_000])
    assert_array_equal(mnist.validation.images.numpy(), images[55_000:])
    assert_array_equal(mnist.validation.labels.numpy(), labels[55_000:])


def test_the_test_split_is_the_test_set(mnist: Dataset) -> None:
    assert_array_equal(mnist.test.images.numpy(), shipped(TEST_IMAGES))
    assert_array_equal(mnist.test.labels.numpy(), shipped(TEST_LABELS))


def test_normalisation_uses_only_the_fit_split(mnist: Dataset) -> None:
    counts = np.bincount(shipped(TRAIN_IMAGES)[:55_000].ravel(), minlength=256)
    levels = np.arange(256) / 255
    mean = np.average(levels, weights=counts)
    assert mnist.normalisation.mean == pytest.approx(mean, rel=1e-9)
    assert mnist.normalisation.std == pytest.approx(np.sqrt(np.average((levels - mean) ** 2, weights=counts)), rel=1e-9)


def test_plain_files_without_checksums_are_read(folder: Path) -> None:
    dataset = load(folder)
    images, labels = digits(5_001)
    assert dataset.name == "digits"
    assert_array_equal(dataset.fit.images.numpy(), images[:1])
    assert_array_equal(dataset.validation.images.numpy(), images[1:])
    assert_array_equal(dataset.validation.labels.numpy(), labels[1:])
    assert_array_equal(dataset.test.images.numpy(), digits(3)[0])


def test_a_folder_may_contain_plain_and_gzipped_files(folder: Path) -> None:
    plain = load(folder)
    content = (folder / TRAIN_IMAGES).read_bytes()
    (folder / TRAIN_IMAGES).unlink()
    (folder / f"{TRAIN_IMAGES}.gz").write_bytes(gzip.compress(content))
    assert_array_equal(load(folder).validation.images.numpy(), plain.validation.images.numpy())


@pytest.mark.parametrize("marker", ["  ", " *"])
def test_checksums_are_those_of_the_uncompressed_content(folder: Path, marker: str) -> None:
    """`sha256sum` prints the two formats of a line in text mode and in binary mode."""
    path = folder / TEST_LABELS
    lines = (f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}{marker}{name}\n" for name in NAMES)
    (folder / CHECKSUMS).write_text("\n".join(lines))
    (folder / f"{TEST_LABELS}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert len(load(folder).test.labels) == 3


def test_a_file_without_a_checksum_is_refused(folder: Path) -> None:
    (folder / CHECKSUMS).write_text(f"{'0' * 64}  another-file\n")
    with pytest.raises(DataError, match=rf"{CHECKSUMS} has no checksum for {TRAIN_IMAGES}"):
        load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_the_error_names_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: missing"):
        load(folder)


def test_the_error_names_a_file_of_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"nowhere/{TRAIN_IMAGES}: missing"):
        load(tmp_path / "nowhere")


@pytest.mark.parametrize("length", [0, 1, 9, 17, 1000, -9, -8, -1])
def test_the_error_names_a_truncated_gzip_file(mnist_copy: Path, length: int) -> None:
    path = mnist_copy / f"{TEST_LABELS}.gz"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=rf"{path.name}: "):
        load(mnist_copy)


def test_the_error_names_a_damaged_gzip_file(mnist_copy: Path) -> None:
    path = mnist_copy / f"{TEST_IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"{path.name}: "):
        load(mnist_copy)


@pytest.mark.parametrize("length", [0, 3, 4, 15, 16, -1])
def test_the_error_names_a_truncated_plain_file(folder: Path, length: int) -> None:
    path = folder / TEST_IMAGES
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match=rf"{path.name}: "):
        load(folder)


@pytest.mark.parametrize("name", [TEST_IMAGES, TEST_LABELS])
@pytest.mark.parametrize("compressed", [True, False])
def test_the_error_names_an_altered_file(mnist_copy: Path, name: str, compressed: bool) -> None:
    """The test changes one bit of a pixel or of a label. The changed label is still a valid label."""
    content = bytearray(gzip.decompress((mnist_copy / f"{name}.gz").read_bytes()))
    content[-1] ^= 1
    (mnist_copy / f"{name}.gz").unlink()
    path = mnist_copy / (f"{name}.gz" if compressed else name)
    path.write_bytes(gzip.compress(content, 1) if compressed else content)
    with pytest.raises(DataError, match=rf"{path.name}: altered"):
        load(mnist_copy)


@pytest.mark.parametrize("content", [b"no checksum\nhere\n", b"\xff\xfe"])
def test_the_error_names_an_invalid_file_of_checksums(folder: Path, content: bytes) -> None:
    (folder / CHECKSUMS).write_bytes(content)
    with pytest.raises(DataError, match=rf"{CHECKSUMS}: "):
        load(folder)


WRONG: dict[str, tuple[str, Callable[[Bytes], bytes], str]] = {
    "another magic number": (TRAIN_IMAGES, lambda array: b"\x89PNG" + idx(array)[4:], "not an IDX file"),
    "another type of element": (TRAIN_LABELS, lambda array: b"\0\0\x0d\x01" + idx(array)[4:], "not an IDX file"),
    "trailing bytes": (TEST_IMAGES, lambda array: idx(array) + b"\0", "bytes of data"),
    "another size of images": (TEST_IMAGES, lambda array: idx(array[:, 1:]), r"\(3, 27, 28\)"),
    "no image": (TEST_IMAGES, lambda array: idx(array[:0]), r"\(0, 28, 28\)"),
    "too few dimensions of images": (TRAIN_IMAGES, lambda array: idx(array.reshape(-1, 784)), r"\(5001, 784\)"),
    "too many dimensions of labels": (TRAIN_LABELS, lambda array: idx(array.reshape(-1, 1)), r"\(5001, 1\)"),
    "one label too few": (TEST_LABELS, lambda array: idx(array[1:]), r"\(2,\).*each of 3"),
    "a label out of range": (TEST_LABELS, lambda array: idx(np.where(array == 2, np.uint8(12), array)), "label 12"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_error_names_a_file_of_another_format(folder: Path, wrong: str) -> None:
    name, damage, message = WRONG[wrong]
    array = parse_idx((folder / name).read_bytes())
    (folder / name).write_bytes(damage(array))
    with pytest.raises(DataError, match=rf"{name}: .*{message}"):
        load(folder)


def test_too_few_images_for_a_validation_split_are_refused(folder: Path) -> None:
    images, labels = digits(5_000)
    (folder / TRAIN_IMAGES).write_bytes(idx(images))
    (folder / TRAIN_LABELS).write_bytes(idx(labels))
    with pytest.raises(DataError, match=r"digits: 5000 training images; more than 5,000"):
        load(folder)


def arrays() -> st.SearchStrategy[Bytes]:
    shapes = st.integers(0, 5).flatmap(lambda n: st.lists(st.integers(0, 5), min_size=n, max_size=n)).map(tuple)
    return hnp.arrays(np.uint8, shapes)


@examples(4)
@given(arrays())
def test_parsing_returns_the_written_array(array: Bytes) -> None:
    parsed = parse_idx(idx(array))
    assert parsed.shape == array.shape
    assert_array_equal(parsed, array)


@examples(6)
@given(st.one_of(st.binary(max_size=64), st.binary(max_size=40).map(lambda rest: b"\0\0\x08" + rest)))
@example(b"\0\0\x08\x00\x01")
@example(b"\0\0\x08\x03" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1))
@example(b"\0\0\x08\x41" + bytes(4 * 0x41))
@example(b"\0\0\x08\x02" + struct.pack(">2I", 2**31, 2**33 // 2**2))
def test_any_bytes_are_either_refused_or_read_completely(content: bytes) -> None:
    try:
        array: npt.NDArray[Any] = parse_idx(content)
    except ValueError:
        return
    assert array.dtype == np.uint8
    assert math.prod(array.shape) == array.size
    assert idx(array) == content


@examples(2)
@given(arrays(), st.integers(1, 8))
def test_a_truncated_file_is_refused(array: Bytes, cut: int) -> None:
    with pytest.raises(ValueError, match=r"not an IDX file|truncated|bytes of data"):
        parse_idx(idx(array)[:-cut])
