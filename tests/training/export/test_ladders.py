"""The ladders of an existing artifact are measured again, and no other file changes."""

import json
from pathlib import Path

import pytest

from models.artifact import CARD, MANIFEST, PROFILE, Artifact, ArtifactError, read, sha256
from training.data import Dataset
from training.export.figure import LADDER_FIGURE
from training.export.ladders import update_ladders


def test_an_artifact_of_schema_version_4_gets_ladders_in_place(
    artifact: Artifact, artifact_copy: Path, few_digits: Dataset
) -> None:
    """All files become equal to those of an export, to the byte."""
    (artifact_copy / LADDER_FIGURE).unlink()
    (artifact_copy / CARD).write_text("another card")
    profile = json.loads((artifact_copy / PROFILE).read_text())
    del profile["ladders"]
    (artifact_copy / PROFILE).write_text(json.dumps(profile))
    older = json.loads((artifact_copy / MANIFEST).read_text()) | {"schema_version": 4}
    del older["files"][LADDER_FIGURE]
    older["files"] |= {name: sha256(artifact_copy / name) for name in (CARD, PROFILE)}
    (artifact_copy / MANIFEST).write_text(json.dumps(older))
    updated = update_ladders(read(artifact_copy), few_digits)
    assert updated.profile == artifact.profile
    assert updated.manifest == artifact.manifest
    for path in artifact.folder.iterdir():
        assert (artifact_copy / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_network_without_an_ode_has_no_ladders(mlp_artifact: Artifact, few_digits: Dataset) -> None:
    with pytest.raises(ArtifactError, match="discrete solves no ODE and has no ladders"):
        update_ladders(mlp_artifact, few_digits)


def test_another_dataset_is_refused(artifact_copy: Path, mnist: Dataset) -> None:
    with pytest.raises(ArtifactError, match="fitted on few-digits; the given dataset is mnist"):
        update_ladders(read(artifact_copy), mnist)
