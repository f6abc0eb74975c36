"""Copies of the shipped artifacts in models folders for tests: complete, incomplete or damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from models.artifact import newest, sha256
from tests.serving import FITTED, SHIPPED

MLP = newest(FITTED / "mlp") or FITTED
"""The shipped artifact that loads the fastest."""

FAST = newest(FITTED / "odenet-mnist-fast") or FITTED
"""A shipped artifact with an ODE that is not the default model."""


def make(folder: Path, name: str, version: str, source: Path = SHIPPED) -> Path:
    """Copy a shipped artifact, under another name and version, into a hidden folder next to the version folders."""
    target = folder / name / f".{version}.partial"
    shutil.copytree(source, target)
    change(target, name=name, version=version)
    return target


def change(folder: Path, **fields: object) -> None:
    """Change fields of a manifest."""
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fields))


def put(
    folder: Path,
    name: str,
    version: str,
    source: Path = SHIPPED,
    spoil: Callable[[Path], object] = lambda _: None,
) -> Path:
    """Add a version to a models folder by a rename, as an export does. `spoil` may damage the version before."""
    made = make(folder, name, version, source)
    spoil(made)
    return made.rename(folder / name / version)


def rewrite(file: str, content: bytes) -> Callable[[Path], object]:
    """A function that replaces a file of an artifact and writes the new checksum into the manifest."""

    def spoil(folder: Path) -> None:
        (folder / file).write_bytes(content)
        files = json.loads((folder / "manifest.json").read_text())["files"]
        change(folder, files=files | {file: sha256(folder / file)})

    return spoil
