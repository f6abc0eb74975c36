"""Fits the temperature of an existing artifact again, and writes it into the manifest and the card."""

from pathlib import Path

from models.artifact import CARD, MANIFEST, Artifact, ArtifactError, Manifest, read, sha256
from models.backends.onnx import OnnxBackend
from training.data import Dataset
from training.export.card import write_card
from training.export.measure import measure


def calibrate(artifact: Artifact, dataset: Dataset) -> Artifact:
    """Calibrate an artifact in its folder. The version does not change, because no digit changes.

    First the card is replaced, then the manifest. If the program stops between the two, reading the artifact fails,
    because the card does not match its checksum.

    Args:
        artifact: the artifact to calibrate.
        dataset: the dataset that the artifact was fitted on.

    Returns:
        The calibrated artifact.

    Raises:
        ArtifactError: the artifact was fitted on another dataset, or its measured errors differ from its manifest.
    """
    before, folder = artifact.manifest, artifact.folder
    if before.dataset != dataset.name:
        raise ArtifactError(f"{folder / MANIFEST}: fitted on {before.dataset}; the given dataset is {dataset.name}")
    temperature, metrics = measure(OnnxBackend(folder, before.methods), dataset, before.default_solver)
    for expected, measured in zip(before.metrics, metrics, strict=True):
        if (expected.errors, expected.rows) != (measured.errors, measured.rows):
            raise ArtifactError(
                f"{folder / MANIFEST}: {expected.errors} errors on {expected.rows:,} {expected.split} images, but "
                f"{measured.errors} on {measured.rows:,} were measured now"
            )
    manifest = before.model_copy(update={"schema_version": 4, "temperature": temperature, "metrics": metrics})
    _replace(folder / CARD, write_card(manifest, artifact.profile))
    manifest = manifest.model_copy(update={"files": before.files | {CARD: sha256(folder / CARD)}})
    _replace(folder / MANIFEST, to_json(manifest))
    return read(folder)


def to_json(manifest: Manifest) -> str:
    """The content of the file of a manifest."""
    return manifest.model_dump_json(indent=1) + "\n"


def _replace(path: Path, content: str) -> None:
    """Replace a file atomically."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)
