"""Which artifacts of a folder are served, and which are refused."""

import asyncio
import json
from hashlib import sha256
from pathlib import Path

import pytest

from models.artifact import ArtifactError
from service.errors import UnknownModelError
from service.repository import Repository
from service.settings import Settings
from tests.artifacts import put


def load(folder: Path, model: str) -> Repository:
    return Repository.open(Settings(models=folder, model=model))


def test_of_each_name_the_greatest_version_is_served(tmp_path: Path) -> None:
    for name, version in (("one", "2"), ("one", "10"), ("two", "1")):
        put(tmp_path, name, version)
    (tmp_path / "one" / ".11.partial").mkdir()  # an export that has not ended
    (tmp_path / "README").touch()
    models = load(tmp_path, "two")
    assert [(model.name, model.version) for model in models] == [("one", "10"), ("two", "1")]
    assert asyncio.run(models.get("one")).version == "10"
    assert models.default is not None
    assert models.default.name == "two"
    assert asyncio.run(models.get(None)) is models.default


def test_an_unknown_name_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    put(tmp_path, "one", "1")
    with pytest.raises(UnknownModelError, match="one"):
        asyncio.run(load(tmp_path, "one").get("two"))


def test_a_default_that_is_missing_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "one", "1")
    with pytest.raises(ArtifactError, match="two"):
        load(tmp_path, "two")


def test_an_artifact_in_the_wrong_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "one", "1").rename(tmp_path / "one" / "2")
    with pytest.raises(ArtifactError, match=r"manifest\.json: says one version 1"):
        load(tmp_path, "one")


def test_a_graph_that_onnxruntime_cannot_load_is_named(tmp_path: Path) -> None:
    folder = put(tmp_path, "one", "1")
    (folder / "head.onnx").write_bytes(b"no graph")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["head.onnx"] = sha256(b"no graph").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"head\.onnx: onnxruntime cannot load it"):
        load(tmp_path, "one")
