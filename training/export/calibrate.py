"""Fits the temperature of an existing artifact again, and writes it into the manifest and the card."""

from models.artifact import MANIFEST, Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from training.data import Dataset
from training.export.measure import measure
from training.export.update import check_dataset, update


def calibrate(artifact: Artifact, dataset: Dataset) -> Artifact:
    """Calibrate an artifact in its folder. The version does not change, because no digit changes.

    Args:
        artifact: the artifact to calibrate.
        dataset: the dataset that the artifact was fitted on.

    Returns:
        The calibrated artifact.

    Raises:
        ArtifactError: the artifact was fitted on another dataset, or its measured errors differ from its manifest.
    """
    before, folder = artifact.manifest, artifact.folder
    check_dataset(artifact, dataset)
    temperature, metrics = measure(OnnxBackend(folder, before.methods), dataset, before.default_solver)
    for expected, measured in zip(before.metrics, metrics, strict=True):
        if (expected.errors, expected.rows) != (measured.errors, measured.rows):
            raise ArtifactError(
                f"{folder / MANIFEST}: {expected.errors} errors on {expected.rows:,} {expected.split} images, but "
                f"{measured.errors} on {measured.rows:,} were measured now"
            )
    return update(artifact, before.model_copy(update={"temperature": temperature, "metrics": metrics}))
