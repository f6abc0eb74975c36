"""Models folders for tests, of copies of the artifacts that ship."""

import json
import shutil
from pathlib import Path

from models.artifact import newest
from tests.serving import FITTED, SHIPPED

MLP = newest(FITTED / "mlp") or FITTED
"""The artifact that ships which is loaded the fastest."""


def put(folder: Path, name: str, version: str, source: Path = SHIPPED) -> Path:
    """A copy of an artifact that ships, under another name and version."""
    target = folder / name / version
    shutil.copytree(source, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"name": name, "version": version}))
    return target
