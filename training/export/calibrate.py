"""Fits the temperature of an artifact that is there already, and writes it into its manifest and card."""

from pathlib import Path

from models.artifact import CARD, MANIFEST, Artifact, ArtifactError, Manifest, read, sha256
from models.backends.onnx import OnnxBackend
from training.data import Dataset
from training.export.card import write_card
from training.export.measure import measure


def calibrate(artifact: Artifact, dataset: Dataset) -> Artifact:
    """Calibrate an artifact where it lies; its version stays, as its digits do.

    The card is replaced and then the manifest; an artifact left between the two is refused, as altered.

    Args:
        artifact: to be calibrated, for the first time or anew.
        dataset: what it was fitted on.

    Raises:
        ArtifactError: it was fitted on another dataset, or errs here otherwise than its manifest says.
    """
    told, folder = artifact.manifest, artifact.folder
    if told.dataset != dataset.name:
        raise ArtifactError(f"{folder / MANIFEST}: fitted on {told.dataset}; the dataset given is {dataset.name}")
    temperature, metrics = measure(OnnxBackend(folder, told.methods), dataset, told.default_solver)
    for before, now in zip(told.metrics, metrics, strict=True):
        if (before.errors, before.rows) != (now.errors, now.rows):
            counts = f"{before.errors} of {before.rows:,} {before.split} images, and now {now.errors} of {now.rows:,}"
            raise ArtifactError(f"{folder / MANIFEST}: erred on {counts}")
    manifest = told.model_copy(update={"schema_version": 4, "temperature": temperature, "metrics": metrics})
    _replace(folder / CARD, write_card(manifest, artifact.profile))
    manifest = manifest.model_copy(update={"files": told.files | {CARD: sha256(folder / CARD)}})
    _replace(folder / MANIFEST, written(manifest))
    return read(folder)


def written(manifest: Manifest) -> str:
    """A manifest as its file has it."""
    return manifest.model_dump_json(indent=1) + "\n"


def _replace(path: Path, content: str) -> None:
    """Write a file anew, in one piece."""
    partial = path.with_name(f".{path.name}")
    partial.write_text(content, encoding="utf-8")
    partial.replace(path)
