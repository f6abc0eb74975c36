"""Updates the measurements in the folder of an existing artifact: its profile, its card and its manifest."""

from pathlib import Path

from models.artifact import CARD, MANIFEST, PROFILE, Artifact, ArtifactError, Manifest, read, sha256
from models.profile import Profile
from training.data import Dataset
from training.export.card import write_card
from training.export.figure import LADDER_FIGURE, draw_ladders

SCHEMA_VERSION = 5
"""The version of the file format that an update writes."""


def check_dataset(artifact: Artifact, dataset: Dataset) -> None:
    """Check that an artifact was fitted on a dataset.

    Raises:
        ArtifactError: the artifact was fitted on another dataset.
    """
    fitted = artifact.manifest.dataset
    if fitted != dataset.name:
        raise ArtifactError(f"{artifact.folder / MANIFEST}: fitted on {fitted}; the given dataset is {dataset.name}")


def update(artifact: Artifact, manifest: Manifest, profile: Profile | None = None) -> Artifact:
    """Replace the manifest and the card of an artifact, and with a new profile also the profile and its figure.

    The manifest is replaced last. If the program stops before this, reading the artifact fails, because a file does not
    match its checksum.

    Args:
        artifact: the artifact.
        manifest: the new manifest; its checksums are not needed.
        profile: the new profile; None to keep the present one.

    Returns:
        The updated artifact.
    """
    folder, changed = artifact.folder, [CARD]
    manifest = manifest.model_copy(update={"schema_version": SCHEMA_VERSION})
    if profile is not None:
        replace(folder / PROFILE, write_profile(profile))
        draw_ladders(profile, folder / LADDER_FIGURE)
        changed += [PROFILE, LADDER_FIGURE]
    replace(folder / CARD, write_card(manifest, artifact.profile if profile is None else profile))
    files = artifact.manifest.files | {name: sha256(folder / name) for name in changed}
    replace(folder / MANIFEST, write_manifest(manifest.model_copy(update={"files": dict(sorted(files.items()))})))
    return read(folder)


def write_manifest(manifest: Manifest) -> str:
    """The content of the file of a manifest."""
    return manifest.model_dump_json(indent=1) + "\n"


def write_profile(profile: Profile) -> str:
    """The content of the file of a profile."""
    return profile.model_dump_json(indent=1) + "\n"


def replace(path: Path, content: str) -> None:
    """Replace a file atomically."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)
