"""Models folders for tests, of copies of the artifact that ships."""

import json
import shutil
from pathlib import Path

from tests.serving import SHIPPED


def put(folder: Path, name: str, version: str) -> Path:
    """A copy of the artifact that ships, under another name and version."""
    target = folder / name / version
    shutil.copytree(SHIPPED, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"name": name, "version": version}))
    return target
