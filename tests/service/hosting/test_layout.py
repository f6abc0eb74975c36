"""Where the versions are: in a models folder, or in a folder that is itself an artifact, as KServe makes it."""

import asyncio
import logging
import os
import shutil
from pathlib import Path

import pytest

from models.artifact import ArtifactError, read_manifest
from service.hosting.folder import check_models
from service.hosting.layout import version_folders
from service.hosting.manager import ModelManager
from service.settings import Settings
from tests.artifacts import MLP


def test_a_folder_whose_name_cannot_be_the_name_of_a_model_is_skipped_and_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (b"mlp", b"no utf-8 \xff", b"MLP", b"empty \xff"):
        (tmp_path / os.fsdecode(name)).mkdir()
    for name in (b"mlp", b"no utf-8 \xff", b"MLP"):
        (tmp_path / os.fsdecode(name) / "1").mkdir()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert version_folders(tmp_path) == {"mlp": {"1": tmp_path / "mlp" / "1"}}
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 2


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """The artifact of the model `mlp` in a folder with a name of its own, beside what a download may leave."""
    folder = shutil.copytree(MLP, tmp_path / "models")
    (folder / ".cache").mkdir()  # huggingface_hub keeps its state there
    return folder


def test_an_artifact_in_the_models_folder_is_served_under_the_name_in_its_manifest(mounted: Path) -> None:
    version = read_manifest(MLP).version
    settings = Settings(models=mounted, model="mlp", model_control=True)
    models = ModelManager.open(settings)
    assert models.versions == check_models(settings) == {"mlp": version}
    assert models.knows("mlp", version)
    assert not models.knows("mlp", "999")
    (entry,) = asyncio.run(models.index())
    assert (entry.name, entry.version, entry.ready) == ("mlp", version, True)


def test_an_artifact_in_the_models_folder_can_be_unloaded_and_loaded(mounted: Path) -> None:
    models = ModelManager.open(Settings(models=mounted, model="mlp", model_control=True))
    asyncio.run(models.unload("mlp"))
    assert models.versions == {}
    asyncio.run(models.load("mlp"))
    assert models.versions == {"mlp": read_manifest(MLP).version}


def test_another_default_model_than_the_artifact_is_refused_with_the_name_that_the_folder_has(mounted: Path) -> None:
    with pytest.raises(ArtifactError, match=r"digits: no such model .* the folder has mlp$"):
        ModelManager.open(Settings(models=mounted, model="digits"))


def test_an_artifact_in_the_models_folder_whose_manifest_cannot_be_read_is_refused(mounted: Path) -> None:
    (mounted / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"manifest\.json: Invalid JSON"):
        version_folders(mounted)
