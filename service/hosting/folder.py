"""The models folder: the models and versions that it contains."""

import logging
from pathlib import Path

from models import artifact as artifacts
from models.artifact import Artifact, ArtifactError
from service.hosting.loader import make_backend, read
from service.settings import Settings

logger = logging.getLogger(__name__)


def model_folders(models: Path) -> list[Path]:
    """The folders of the models that have a complete version, sorted by name."""
    return [folder for folder in sorted(models.glob("*/")) if artifacts.newest(folder) is not None]


def newest_readable(settings: Settings) -> list[Artifact]:
    """For each model, the greatest version whose files match its manifest. The default model is among them.

    Raises:
        ArtifactError: the default model has no such version.
    """
    versions = map(artifacts.versions, model_folders(settings.models))
    found = [artifact for each in versions if (artifact := _newest_readable(each))]
    if settings.model not in {artifact.manifest.name for artifact in found}:
        raise ArtifactError(
            f"{settings.models / settings.model}: no such model that can be read, and it should be the default model"
        )
    return found


def _newest_readable(versions: list[Path]) -> Artifact | None:
    """The last version whose files match its manifest; the log says why the later versions are skipped."""
    for folder in reversed(versions):
        try:
            return read(folder)
        except ArtifactError as error:
            logger.error("%s version %s is skipped: %s", folder.parent.name, folder.name, error)  # noqa: TRY400
    return None


def check_models(settings: Settings) -> dict[str, str]:
    """Check quickly whether the models can be loaded, for a supervisor that does not serve itself.

    Returns:
        The versions that should be served, by the models' names.

    Raises:
        ArtifactError: the default model is missing or corrupt.
        ValueError: the backend or the device is not available.
    """
    found = newest_readable(settings)
    for artifact in found:
        if artifact.manifest.name == settings.model:
            make_backend(artifact, settings)
    return {artifact.manifest.name: artifact.manifest.version for artifact in found}
