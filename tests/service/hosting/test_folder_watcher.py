"""The folder watcher: which versions it serves, and which process looks."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from models.artifact import ArtifactError
from service.hosting.desired_state import DesiredState
from service.hosting.folder_watcher import FolderWatcher
from service.hosting.manager import ModelManager
from service.settings import Settings
from tests.artifacts import MLP, put
from tests.waiting import until_others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, and with a desired state that lists it."""
    put(tmp_path / "models", "one", "1", MLP)
    DesiredState.shared(tmp_path / "shared").put("one", "1")
    return tmp_path


def process(folder: Path) -> tuple[ModelManager, FolderWatcher]:
    """The model manager of a process, and its folder watcher."""
    models = folder / "models"
    manager = ModelManager.open(Settings(models=models, model="one"), DesiredState.shared(folder / "shared"))
    return manager, FolderWatcher(manager, models, 0.02, folder / "shared" / "watch")


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def test_another_process_looks_when_the_looking_process_ends(folder: Path) -> None:
    (one, first), (two, second) = process(folder), process(folder)

    async def run() -> None:
        looking = asyncio.create_task(first.run())
        put(folder / "models", "one", "2", MLP)
        await until_others(lambda: one.versions == {"one": "2"})
        following = asyncio.create_task(second.run())
        await until_others(lambda: two.versions == {"one": "2"})
        await end(looking)
        put(folder / "models", "one", "3", MLP)
        await until_others(lambda: two.versions == {"one": "3"})
        assert one.versions == {"one": "2"}
        await end(following)

    asyncio.run(run())


def test_a_version_is_served_after_two_looks_have_found_it_unchanged(folder: Path) -> None:
    manager, watcher = process(folder)

    async def run() -> None:
        await watcher.look()
        new = put(folder / "models", "one", "2", MLP)
        await watcher.look()
        (new / "README.md").touch()  # the version is still being copied
        await watcher.look()
        assert manager.versions == {"one": "1"}
        await watcher.look()
        assert manager.versions == {"one": "2"}

    asyncio.run(run())


def test_a_refused_version_is_tried_again_after_a_change_and_forgotten_when_it_is_removed(folder: Path) -> None:
    failures = list[str]()
    models, desired = folder / "models", DesiredState.shared(folder / "shared")
    manager = ModelManager.open(Settings(models=models, model="one"), desired, on_failure=failures.append)
    watcher = FolderWatcher(manager, models, 1)

    async def look(times: int) -> None:
        for _ in range(times):
            await watcher.look()

    async def run() -> None:
        new = put(models, "one", "2", MLP)
        (new / "head.onnx").write_bytes(b"no graph")
        await look(5)
        assert failures == ["one"]
        (new / "head.onnx").write_bytes(b"none yet")
        await look(5)
        assert failures == ["one", "one"]
        assert "one/2/head.onnx: altered" in desired.refusals["one", "2"]
        shutil.rmtree(new)
        await look(1)
        assert desired.refusals == {}
        assert manager.versions == {"one": "1"}

    asyncio.run(run())


def test_a_file_whose_name_is_not_utf_8_is_the_reason_for_a_refusal_and_stops_no_other_model(folder: Path) -> None:
    manager, watcher = process(folder)

    async def run() -> None:
        new = put(folder / "models", "one", "2", MLP)
        (new / os.fsdecode(b"caf\xe9")).touch()
        put(folder / "models", "two", "1", MLP)
        for _ in range(2):
            await watcher.look()
        assert manager.versions == {"one": "1", "two": "1"}
        reasons = [entry.reason for entry in await manager.index() if entry.version == "2"]
        assert reasons == [
            "refused: one/2/caf\\udce9: is not listed in manifest.json, so nothing says what it should hold"
        ]

    asyncio.run(run())


def test_the_version_before_a_refused_version_is_served(folder: Path) -> None:
    manager, watcher = process(folder)

    async def run() -> None:
        put(folder / "models", "one", "2", MLP)
        (put(folder / "models", "one", "3", MLP) / "weights.safetensors").unlink()
        for _ in range(3):
            await watcher.look()
        assert manager.versions == {"one": "2"}
        with pytest.raises(ArtifactError, match=r"one/3/weights\.safetensors: listed in manifest\.json"):
            await manager.adopt("one", "3")
        assert manager.versions == {"one": "2"}

    asyncio.run(run())


@pytest.mark.parametrize("broken", ["README.md", "weights.safetensors", "manifest.json"])
def test_a_version_with_a_file_that_cannot_be_read_is_refused_and_stops_no_other_model(
    folder: Path, broken: str
) -> None:
    """The file is a symbolic link to itself. Any other error of the system has the same effect."""
    failures = list[str]()
    models, desired = folder / "models", DesiredState.shared(folder / "shared")
    manager = ModelManager.open(Settings(models=models, model="one"), desired, on_failure=failures.append)
    watcher = FolderWatcher(manager, models, 1)

    def link_to_itself(version: Path) -> None:
        (version / broken).unlink()
        (version / broken).symlink_to(broken)

    async def run() -> None:
        put(models, "one", "2", MLP, link_to_itself)
        put(models, "two", "1", MLP)
        for _ in range(4):
            await watcher.look()

    asyncio.run(run())
    assert manager.versions == {"one": "1", "two": "1"}
    assert failures == ["one"]
    assert f"one/2/{broken}" in desired.refusals["one", "2"]
    assert "Too many levels of symbolic links" in desired.refusals["one", "2"]


def test_a_hidden_file_may_be_unreadable(folder: Path) -> None:
    manager, watcher = process(folder)

    async def run() -> None:
        put(folder / "models", "one", "2", MLP, lambda version: (version / ".notes").symlink_to(".notes"))
        await watcher.look()
        await watcher.look()

    asyncio.run(run())
    assert manager.versions == {"one": "2"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_version_folder_without_permission_is_refused_and_stops_no_other_model(folder: Path) -> None:
    manager, watcher = process(folder)

    async def run() -> None:
        closed = put(folder / "models", "one", "2", MLP)
        closed.chmod(0)
        put(folder / "models", "two", "1", MLP)
        for _ in range(4):
            await watcher.look()
        closed.chmod(0o700)

    asyncio.run(run())
    assert manager.versions == {"one": "1", "two": "1"}
    assert "Permission denied" in DesiredState.shared(folder / "shared").refusals["one", "2"]
