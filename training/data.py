"""Reads digits from IDX files, checks them and splits them."""

import gzip
import hashlib
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.form import SIDE
from models.networks.layers import Normalisation

MNIST = Path(__file__).parents[1] / "data" / "mnist"
CHECKSUMS = "SHA256SUMS"
VALIDATION_ROWS = 5_000
CLASSES = 10


class DataError(Exception):
    """A file of the dataset is missing, truncated, altered or in another format; the message names the file."""


class Split(NamedTuple):
    """One split of a dataset: images ``[rows, 28, 28]`` of uint8 and labels ``[rows]`` of int64."""

    images: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Split":
        """A copy of the split on a device."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Dataset:
    """A set of digits in three splits. Every choice is made on `validation`; `test` is only for reporting."""

    name: str
    fit: Split
    validation: Split
    test: Split

    @property
    def normalisation(self) -> Normalisation:
        """The mean and the standard deviation of the pixels of the fit split, on the scale 0..1."""
        counts = torch.bincount(self.fit.images.flatten(), minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        mean = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - mean) ** 2).sum() / counts.sum())
        return Normalisation(mean, math.sqrt(variance))


def load(folder: Path = MNIST) -> Dataset:
    """Load the four IDX files of a folder, plain or gzipped, with MNIST's file names.

    The last 5,000 training images become the validation split.

    Raises:
        DataError: a file is missing, cannot be read, has another format, or does not match the folder's `SHA256SUMS`.
    """
    train = _load_split(folder, "train")
    if len(train.labels) <= VALIDATION_ROWS:
        raise DataError(
            f"{folder}: {len(train.labels)} training images; more than {VALIDATION_ROWS:,} are needed, "
            f"because the last {VALIDATION_ROWS:,} are the validation split"
        )
    return Dataset(
        name=folder.resolve().name,
        fit=Split(train.images[:-VALIDATION_ROWS], train.labels[:-VALIDATION_ROWS]),
        validation=Split(train.images[-VALIDATION_ROWS:], train.labels[-VALIDATION_ROWS:]),
        test=_load_split(folder, "t10k"),
    )


def parse_idx(content: bytes) -> npt.NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes: magic number, one big-endian size per dimension, then the bytes.

    Raises:
        ValueError: the content is not an IDX file of unsigned bytes, or its length differs from the header.
    """
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of unsigned bytes")
    dimensions = content[3]
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(f"truncated: the header has {header} bytes, but the file has only {len(content)}")
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{len(content) - header} bytes of data, but the header says {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _load_split(folder: Path, prefix: str) -> Split:
    images_name, labels_name = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images, labels = _load_array(folder, images_name), _load_array(folder, labels_name)
    if images.shape[1:] != (SIDE, SIDE) or len(images) == 0:
        raise DataError(f"{folder / images_name}: the shape is {images.shape}; expected images of {SIDE}x{SIDE}")
    if labels.shape != images.shape[:1]:
        raise DataError(
            f"{folder / labels_name}: the shape is {labels.shape}; expected a label for each of {len(images)} images"
        )
    if labels.max() >= CLASSES:
        raise DataError(f"{folder / labels_name}: contains the label {labels.max()}; expected 0 to {CLASSES - 1}")
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def _load_array(folder: Path, name: str) -> npt.NDArray[np.uint8]:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise DataError(f"{folder / name}: missing (neither {name} nor {name}.gz exists)")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, because it is truncated or damaged ({error})") from error
    if (folder / CHECKSUMS).is_file():
        expected, actual = _checksums(folder).get(name), hashlib.sha256(content).hexdigest()
        if expected is None:
            raise DataError(f"{path}: {CHECKSUMS} has no checksum for {name}")
        if actual != expected:
            raise DataError(
                f"{path}: altered; the SHA-256 of its uncompressed content is {actual}, and {CHECKSUMS} says {expected}"
            )
    try:
        return parse_idx(content)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def _checksums(folder: Path) -> dict[str, str]:
    """The checksums in the folder's `SHA256SUMS`, by file name."""
    path = folder / CHECKSUMS
    try:
        lines = (line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip())
        return {name.lstrip("*"): checksum for checksum, name in lines}
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: a line is not a checksum and a file name ({error})") from error
