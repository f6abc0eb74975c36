"""The model manager: which versions it serves and refuses, and how processes follow each other."""

import asyncio
import json
import logging
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from models.artifact import ArtifactError
from service.engine.model import ServedModel
from service.errors import BrokenModelError, ForbiddenError, NotReadyError, UnknownModelError
from service.hosting.desired_state import DesiredState
from service.hosting.manager import ModelManager
from service.settings import Settings
from tests.artifacts import MLP, put
from tests.full_disk import files_up_to


def load(folder: Path, model: str) -> ModelManager:
    return ModelManager.open(Settings(models=folder, model=model))


def test_the_greatest_version_of_each_model_is_served(tmp_path: Path) -> None:
    for name, version in (("one", "2"), ("one", "10"), ("two", "1")):
        put(tmp_path, name, version)
    (tmp_path / "one" / ".11.partial").mkdir()  # an export that is still running
    (tmp_path / "README").touch()
    models = load(tmp_path, "two")
    assert [(model.name, model.version) for model in models] == [("one", "10"), ("two", "1")]
    assert asyncio.run(models.get("one")).version == "10"
    assert models.default is not None
    assert models.default.name == "two"
    assert asyncio.run(models.get(None)) is models.default


def test_an_unknown_name_is_refused_with_the_known_names(tmp_path: Path) -> None:
    put(tmp_path, "one", "1")
    with pytest.raises(UnknownModelError, match="one"):
        asyncio.run(load(tmp_path, "one").get("two"))


def test_a_missing_default_model_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "one", "1")
    with pytest.raises(ArtifactError, match="two"):
        load(tmp_path, "two")


def test_a_version_that_cannot_be_loaded_is_skipped_and_tried_again_unless_the_default_has_none(tmp_path: Path) -> None:
    """A worker process replaces another one after the folder has changed."""
    for name, version in (("one", "1"), ("one", "2"), ("two", "1"), ("three", "1")):
        put(tmp_path, name, version, MLP)
    desired = DesiredState.alone()
    for name, version in (("one", "2"), ("two", "1"), ("three", "1")):
        desired.put(name, version)
    altered = tmp_path / "one" / "2" / "README.md"
    card = altered.read_text()
    altered.write_text("altered")
    shutil.rmtree(tmp_path / "two")
    settings = Settings(models=tmp_path, model="three")
    models = ModelManager.open(settings, desired)
    assert models.versions == {"one": "1", "three": "1"}
    altered.write_text(card)
    asyncio.run(models.synchronise(retry=True))
    assert models.versions == {"one": "2", "three": "1"}
    with pytest.raises(ArtifactError, match="two/1"):
        ModelManager.open(Settings(models=tmp_path, model="two"), desired)


def test_a_model_without_a_complete_version_does_not_prevent_the_start(tmp_path: Path) -> None:
    put(tmp_path, "one", "1", MLP)
    (tmp_path / "two" / "1").mkdir(parents=True)
    assert load(tmp_path, "one").versions == {"one": "1"}


def test_an_artifact_in_the_wrong_folder_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "one", "1").rename(tmp_path / "one" / "2")
    with caplog.at_level(logging.ERROR), pytest.raises(ArtifactError, match="one: no such model that can be read"):
        load(tmp_path, "one")
    assert "manifest.json: says one version 1" in caplog.text


def test_a_graph_that_onnxruntime_cannot_load_is_named(tmp_path: Path) -> None:
    folder = put(tmp_path, "one", "1")
    (folder / "head.onnx").write_bytes(b"no graph")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["head.onnx"] = sha256(b"no graph").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"head\.onnx: onnxruntime cannot load it"):
        load(tmp_path, "one")


def test_at_the_start_an_altered_version_is_skipped_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "one", "1", MLP)
    (put(tmp_path, "one", "2", MLP) / "head.onnx").unlink()
    (tmp_path / "one" / "3").mkdir()
    assert [(model.name, model.version) for model in load(tmp_path, "one")] == [("one", "1")]
    for version, reason in (("3", "manifest.json: cannot be read"), ("2", "head.onnx: listed in manifest.json")):
        assert f"one version {version} is skipped" in caplog.text
        assert reason in caplog.text


# Loading and unloading.


class Process:
    """The models of a worker process.

    Attributes:
        changes: the reported changes: name, version, and whether it is served from now on.
    """

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.changes: list[tuple[str, str, bool]] = []
        desired = DesiredState.shared(folder / "shared")
        own = Settings(models=folder / "models", model="default", **{"model_control": True, **settings})
        self.models = ModelManager.open(own, desired, self._changed)

    def _changed(self, model: ServedModel, served: bool) -> None:
        self.changes.append((model.name, model.version, served))

    async def serves(self, name: str) -> str | None:
        """The version of a model that answers a request; None if no version does."""
        try:
            return (await self.models.get(name)).version
        except UnknownModelError:
            return None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with models, and with a desired state that lists two of them."""
    desired = DesiredState.shared(tmp_path / "shared")
    for name in ("default", "other"):
        put(tmp_path / "models", name, "1", MLP)
        desired.put(name, "1")
    return tmp_path


def test_a_process_serves_the_desired_versions(folder: Path) -> None:
    put(folder / "models", "default", "2", MLP)
    put(folder / "models", "fresh", "1", MLP)
    process = Process(folder)
    assert process.changes == [("default", "1", True), ("other", "1", True)]


def test_a_change_in_one_process_is_visible_to_the_next_request_in_another(folder: Path) -> None:
    async def run() -> None:
        await one.models.unload("other")
        assert await two.serves("other") is None
        await two.models.load("other")
        assert await one.serves("other") == "1"
        put(folder / "models", "other", "2", MLP)
        await one.models.load("other")
        assert (await one.serves("other"), await two.serves("other")) == ("2", "2")
        assert (await one.serves("default"), await two.serves("default")) == ("1", "1")

    one, two = Process(folder), Process(folder)
    asyncio.run(run())
    changes = [("default", "1", True), ("other", "1", True), ("other", "1", False), ("other", "1", True)]
    assert one.changes == two.changes == [*changes, ("other", "1", False), ("other", "2", True)]


def test_no_request_waits_for_a_model_that_another_request_needs(folder: Path) -> None:
    async def run() -> None:
        await one.models.load("fresh")
        waiting = asyncio.create_task(two.serves("fresh"))
        await asyncio.sleep(0)
        assert await two.serves("default") == "1"
        assert not waiting.done()
        assert await waiting == "1"

    put(folder / "models", "fresh", "1", MLP)
    one, two = Process(folder), Process(folder)
    asyncio.run(run())


def test_a_change_during_a_load_is_visible_at_once(folder: Path) -> None:
    async def run() -> None:
        await one.models.load("fresh")
        loading = asyncio.create_task(two.serves("fresh"))
        for _ in range(10):  # until the process has read the desired state and is loading
            await asyncio.sleep(0)
        await one.models.unload("other")
        assert not loading.done()
        assert await two.serves("other") is None
        assert await loading == "1"

    put(folder / "models", "fresh", "1", MLP)
    one, two = Process(folder), Process(folder)
    asyncio.run(run())


def test_an_unloaded_model_is_unknown_at_once_to_a_process_that_loads_another_model(folder: Path) -> None:
    async def run() -> None:
        loading = asyncio.create_task(two.models.adopt("default", "2"))
        for _ in range(10):  # until the process is loading
            await asyncio.sleep(0)
        await one.models.unload("other")
        assert await two.serves("other") is None
        assert not loading.done()
        await loading
        assert two.models.versions == {"default": "2"}

    one, two = Process(folder), Process(folder)
    put(folder / "models", "default", "2", MLP)
    asyncio.run(run())


def test_a_version_that_a_caller_loads_after_its_repair_is_visible_in_a_process_that_refused_it(folder: Path) -> None:
    async def run() -> None:
        with pytest.raises(ArtifactError):
            await two.models.adopt("other", "2")
        head.write_bytes(content)
        await one.models.load("other")
        assert (await one.serves("other"), await two.serves("other")) == ("2", "2")

    one, two = Process(folder), Process(folder)
    head = put(folder / "models", "other", "2", MLP) / "head.onnx"
    content = head.read_bytes()
    head.write_bytes(b"no graph")
    asyncio.run(run())


def test_the_index_shows_the_changes_of_other_processes(folder: Path) -> None:
    async def run() -> None:
        await one.models.unload("other")
        assert [tuple(entry) for entry in await two.models.index()] == [
            ("default", "1", True, ""),
            ("other", "1", False, "not loaded"),
        ]

    one, two = Process(folder), Process(folder)
    asyncio.run(run())


def test_the_old_version_is_served_if_the_new_one_cannot_be_loaded(folder: Path) -> None:
    async def run() -> None:
        with pytest.raises(BrokenModelError, match=r"model: cannot be loaded: other/2/head\.onnx: "):
            await one.models.load("other")
        assert (await one.serves("other"), await two.serves("other")) == ("1", "1")

    damaged = put(folder / "models", "other", "2", MLP)
    one, two = Process(folder), Process(folder)
    (damaged / "head.onnx").write_bytes(b"no graph")
    asyncio.run(run())
    assert one.changes == [("default", "1", True), ("other", "1", True)]


def test_a_process_that_cannot_load_the_new_version_keeps_the_old_one(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        await one.models.load("other")
        (new / "head.onnx").write_bytes(b"no graph")
        assert await two.serves("other") == "1"
        assert await two.serves("default") == "1"
        put(folder / "models", "other", "3", MLP)
        await one.models.load("other")
        assert await two.serves("other") == "3"

    new = put(folder / "models", "other", "2", MLP)
    one, two = Process(folder), Process(folder)
    asyncio.run(run())
    assert "other version 2 cannot be loaded; version 1 is still served" in caplog.text


def test_a_process_that_serves_alone_loads_and_unloads(folder: Path) -> None:
    async def run() -> None:
        await models.unload("other")
        with pytest.raises(UnknownModelError, match="there are default"):
            await models.get("other")
        assert models.knows("other", "1")
        assert not models.knows("other", "2")
        await models.load("other")
        assert (await models.get("other")).version == "1"
        await models.unload("default")
        assert models.default is None

    models = ModelManager.open(Settings(models=folder / "models", model="default", model_control=True))
    asyncio.run(run())


@pytest.mark.parametrize("name", ["fresh", "..", "", "other/1", "default\0"])
def test_a_name_that_is_not_in_the_folder_is_unknown(folder: Path, name: str) -> None:
    process = Process(folder)
    for change in (process.models.load, process.models.unload):
        with pytest.raises(UnknownModelError, match="no such model in the folder"):
            asyncio.run(change(name))


def test_without_model_control_callers_cannot_change_anything(folder: Path) -> None:
    process = Process(folder, model_control=False)
    for change in (process.models.load, process.models.unload):
        with pytest.raises(ForbiddenError, match="model_control"):
            asyncio.run(change("other"))
    assert asyncio.run(process.serves("other")) == "1"


def test_while_the_disk_is_full_a_load_or_unload_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    """Otherwise this process would serve another version than the others, because it cannot tell them."""
    put(tmp_path / "models", "one", "1", MLP)
    desired = DesiredState.shared(tmp_path / "shared")
    desired.put("one", "1")
    settings = Settings(models=tmp_path / "models", model="one", model_control=True)
    models = ModelManager.open(settings, desired)
    put(tmp_path / "models", "one", "2", MLP)
    with files_up_to(0):
        for change in (models.load, models.unload):
            with pytest.raises(NotReadyError, match="cannot change which models are served: "):
                asyncio.run(change("one"))
            assert models.versions == {"one": "1"}
            assert desired.read()["one"].version == "1"
    asyncio.run(models.load("one"))
    assert models.versions == {"one": "2"}


def test_a_damaged_version_is_refused_with_the_reason_while_the_disk_is_full(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(folder)
    (put(folder / "models", "other", "2", MLP) / "head.onnx").write_bytes(b"no graph")
    with files_up_to(0), pytest.raises(BrokenModelError, match=r"model: cannot be loaded: other/2/head\.onnx: "):
        asyncio.run(process.models.load("other"))
    assert process.models.versions["other"] == "1"
    assert "the index does not say why other version 2 is refused: " in caplog.text
