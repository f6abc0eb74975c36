"""Fixtures: a few digits, as a dataset and as files."""

import struct
from pathlib import Path

import pytest
import torch
from torch import Tensor

from training.data import Dataset, Split


@pytest.fixture(scope="session")
def digits(mnist: Dataset) -> Dataset:
    """A small dataset: 96 digits to fit on, 40 to validate and 10 to test."""
    splits = ((mnist.fit, 96), (mnist.validation, 40), (mnist.test, 10))
    return Dataset("digits", *(Split(*(column[:rows] for column in split)) for split, rows in splits))


@pytest.fixture(scope="session")
def data(mnist: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of plain files with 32 digits to fit on, 5,000 to validate and 40 to test."""
    folder = tmp_path_factory.mktemp("data") / "little"
    folder.mkdir()
    for prefix, split, rows in (("train", mnist.fit, 5_032), ("t10k", mnist.test, 40)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", split.images[:rows])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", split.labels[:rows])
    return folder


def write_idx(path: Path, tensor: Tensor) -> None:
    array = tensor.to(torch.uint8).numpy()
    header = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(header + array.tobytes())
