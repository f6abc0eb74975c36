"""Real digits for tests that do without torch: MNIST's test set, straight from the files."""

import gzip
import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

MNIST = Path(__file__).parents[1] / "data" / "mnist"


@cache
def load_test_set() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """The 10,000 images ``[10000, 28, 28]`` and their labels."""
    images = np.frombuffer(gzip.decompress((MNIST / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((MNIST / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels


def seven() -> npt.NDArray[np.uint8]:
    """The first digit of the test set."""
    images, _ = load_test_set()
    first: npt.NDArray[np.uint8] = images[0]
    return first


def encoded(picture: Image.Image | npt.NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    """A picture as the bytes of a file, written with Pillow's options for the file's format."""
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, form, **options)
    return file.getvalue()
