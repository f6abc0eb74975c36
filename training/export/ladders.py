"""Measures the ladders of an existing artifact again, and writes them into the profile, the card and the manifest."""

from models.artifact import Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from training.data import Dataset
from training.export.update import check_dataset, update
from training.ladders import measure_ladders


def update_ladders(artifact: Artifact, dataset: Dataset) -> Artifact:
    """Measure the ladders of an artifact on the validation split. The version does not change, because no graph does.

    Args:
        artifact: the artifact.
        dataset: the dataset that the artifact was fitted on.

    Returns:
        The updated artifact.

    Raises:
        ArtifactError: the artifact has no ODE, or was fitted on another dataset.
    """
    manifest, profile = artifact.manifest, artifact.profile
    check_dataset(artifact, dataset)
    if profile is None:
        raise ArtifactError(f"{artifact.folder}: {manifest.name} solves no ODE and has no ladders")
    backend = OnnxBackend(artifact.folder, manifest.methods)
    ladders = measure_ladders(backend, dataset.validation.images.numpy(), profile.points)
    return update(artifact, manifest, profile.model_copy(update={"ladders": ladders}))
