"""Where the versions of the models are: in a tree ``<name>/<version>/``, or in a folder that is itself an artifact."""

import logging
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from models import artifact as artifacts
from models.artifact import MANIFEST, Name

Versions = dict[str, Path]
"""The folder of each version of a model, by version in ascending order."""

logger = logging.getLogger(__name__)


def version_folders(models: Path) -> dict[str, Versions]:
    """The versions of each model, by the models' names in ascending order.

    A folder whose name cannot be the name of a model is skipped. It might not even be text that an answer can contain.

    Args:
        models: the models folder. If it has a manifest, it is an artifact itself, and the only one. KServe makes such a
            folder when ``storageUri`` names an artifact.

    Raises:
        ArtifactError: the folder has a manifest that cannot be read.
    """
    if (models / MANIFEST).is_file():
        name, version = _identity(models)
        return {name: {version: models}}
    folders = {folder: artifacts.versions(folder) for folder in sorted(models.glob("*/"))}
    return {
        folder.name: {version.name: version for version in versions}
        for folder, versions in folders.items()
        if versions and _has_name_of_model(folder)
    }


def version_folder(models: Path, name: str, version: str) -> Path:
    """The folder of a version, whether it exists or not."""
    is_artifact = (models / MANIFEST).is_file() and _identity(models) == (name, version)
    return models if is_artifact else models / name / version


@cache
def _has_name_of_model(folder: Path) -> bool:
    """Whether the name of a folder can be the name of a model. The log says once that it cannot."""
    try:
        TypeAdapter(Name).validate_python(folder.name)
    except ValidationError:
        logger.warning("%a is skipped: its name cannot be the name of a model", str(folder))
        return False
    return True


@cache
def _identity(artifact: Path) -> tuple[str, str]:
    """The name and the version of an artifact. They are read once, because a served version is not read again."""
    manifest = artifacts.read_manifest(artifact)
    return manifest.name, manifest.version
