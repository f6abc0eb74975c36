"""Models folders for tests, of copies of the artifacts that ship: put there whole, in parts, or broken."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from models.artifact import newest, sha256
from tests.serving import FITTED, SHIPPED

MLP = newest(FITTED / "mlp") or FITTED
"""The artifact that ships which is loaded the fastest."""

FAST = newest(FITTED / "odenet-mnist-fast") or FITTED
"""One that solves an ODE, and is not served by default."""


def make(folder: Path, name: str, version: str, source: Path = SHIPPED) -> Path:
    """A copy of an artifact that ships, under another name and version, out of sight."""
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
    """Such a copy, spoilt perhaps, in sight: renamed, as `python -m training export` does it."""
    made = make(folder, name, version, source)
    spoil(made)
    return made.rename(folder / name / version)


def rewrite(file: str, content: bytes) -> Callable[[Path], object]:
    """Replace a file, and have the manifest agree with it."""

    def spoil(folder: Path) -> None:
        (folder / file).write_bytes(content)
        files = json.loads((folder / "manifest.json").read_text())["files"]
        change(folder, files=files | {file: sha256(folder / file)})

    return spoil
