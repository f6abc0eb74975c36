"""A small copy of the repository, in which the commands of the pages run fast."""

import gzip
import re
import shutil
import struct
import sys
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import trustme

from tests.handbook.blocks import ROOT
from training.data import MNIST, parse_idx

FILES = ("Makefile", "constraints.txt", "docker-compose.yml", "pyproject.toml")
FOLDERS = ("benchmarks", "docs", "models", "service", "tests", "training")
LEFT_OUT = shutil.ignore_patterns(".*", "ablations", "odenet", "odenet-mnist-fast", "resnet", "rknet")
"""Files that the copy leaves out; among them the models that no page uses."""

CHOOSING = 64
"""The size of the validation split in the copy."""

DIGITS = {"train": CHOOSING + 640, "t10k": 64}
"""How many digits of each file the copy keeps."""


def scratch(folder: Path) -> Path:
    """Make the copy.

    Both virtual environments of the copy are links to the environment that runs the tests. The copy also has a
    certificate, for pages whose reader is supposed to have one.
    """
    folder.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=LEFT_OUT)
    data = folder / "training" / "data.py"
    data.write_text(re.sub(r"^(VALIDATION_ROWS) = .*$", rf"\1 = {CHOOSING}", data.read_text(), flags=re.MULTILINE))
    digits = folder / MNIST.relative_to(ROOT)
    digits.mkdir(parents=True)
    for name, content in _few_digits().items():
        (digits / name).write_bytes(content)
    for environment in ("dev", "serve"):
        _environment(folder / ".venv" / environment)
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    return folder


def _environment(folder: Path) -> None:
    """Make a folder that works as the virtual environment in which the tests run."""
    folder.mkdir(parents=True)
    for path in Path(sys.prefix).iterdir():
        if path.name != ".installed":
            (folder / path.name).symlink_to(path)
    (folder / ".installed").touch()  # newer than pyproject.toml, so that make does not reinstall the environment


@cache
def _few_digits() -> dict[str, bytes]:
    """The dataset's files with a few digits, by name. They are made once, because reading all digits takes long."""
    files = dict[str, bytes]()
    for prefix, rows in DIGITS.items():
        for kind in ("images-idx3", "labels-idx1"):
            name = f"{prefix}-{kind}-ubyte.gz"
            array = parse_idx(gzip.decompress((MNIST / name).read_bytes()))[-rows:]
            files[name] = gzip.compress(_idx(array), compresslevel=1)
    return files


def _idx(array: npt.NDArray[np.uint8]) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes()
