"""The models folder: the versions that can be read."""

import logging
from pathlib import Path

from models.artifact import Artifact, ArtifactError
from service.hosting.layout import Versions, version_folders
from service.hosting.loader import make_backend, read
from service.settings import Settings

logger = logging.getLogger(__name__)


def newest_readable(settings: Settings) -> list[Artifact]:
    """For each model, the greatest version whose files match its manifest. The default model is among them.

    Raises:
        ArtifactError: the default model has no such version.
    """
    models = version_folders(settings.models).items()
    found = [artifact for name, versions in models if (artifact := _newest_readable(name, versions, settings.models))]
    names = [artifact.manifest.name for artifact in found]
    if settings.model not in names:
        raise ArtifactError(
            f"{settings.models / settings.model}: no such model that can be read, and it should be the default model; "
            f"the folder has {', '.join(names) or 'no model that can be read'}"
        )
    return found


def _newest_readable(name: str, versions: Versions, models: Path) -> Artifact | None:
    """The last version whose files match its manifest; the log says why the later versions are skipped."""
    for version, folder in reversed(versions.items()):
        try:
            return read(folder, models)
        except ArtifactError as error:
            logger.error("%s version %s is skipped: %s", name, version, error)  # noqa: TRY400
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
