"""Of several processes one looks at the models folder; when it ends, another does."""

import asyncio
import shutil
from pathlib import Path

import pytest

from models.artifact import ArtifactError
from service.hosting.desired_state import DesiredState
from service.hosting.folder_watcher import Watch
from service.hosting.manager import ModelManager
from service.settings import Settings
from tests.artifacts import MLP, put
from tests.waiting import until_others


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a model, and with a desired that lists it."""
    put(tmp_path / "models", "one", "1", MLP)
    DesiredState.shared(tmp_path / "shared").put("one", "1")
    return tmp_path


def process(folder: Path) -> tuple[ModelManager, Watch]:
    """What a process serves, and what looks for it."""
    models = folder / "models"
    repository = ModelManager.open(Settings(models=models, model="one"), DesiredState.shared(folder / "shared"))
    return repository, Watch(repository, models, 0.02, folder / "shared" / "watch")


async def end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


def test_when_the_process_that_looks_ends_another_does(folder: Path) -> None:
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


def test_a_version_is_taken_once_two_looks_have_found_it_the_same(folder: Path) -> None:
    repository, watch = process(folder)

    async def run() -> None:
        await watch.look()
        new = put(folder / "models", "one", "2", MLP)
        await watch.look()
        (new / "more").touch()  # it is still being copied
        await watch.look()
        assert repository.versions == {"one": "1"}
        await watch.look()
        assert repository.versions == {"one": "2"}

    asyncio.run(run())


def test_a_refused_version_is_tried_again_when_it_has_changed_and_forgotten_when_it_is_gone(folder: Path) -> None:
    failures = list[str]()
    models, desired = folder / "models", DesiredState.shared(folder / "shared")
    repository = ModelManager.open(Settings(models=models, model="one"), desired, on_failure=failures.append)
    watch = Watch(repository, models, 1)

    async def look(times: int) -> None:
        for _ in range(times):
            await watch.look()

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
        assert repository.versions == {"one": "1"}

    asyncio.run(run())


def test_a_version_below_one_that_is_refused_is_taken(folder: Path) -> None:
    repository, watch = process(folder)

    async def run() -> None:
        put(folder / "models", "one", "2", MLP)
        (put(folder / "models", "one", "3", MLP) / "weights.safetensors").unlink()
        for _ in range(3):
            await watch.look()
        assert repository.versions == {"one": "2"}
        with pytest.raises(ArtifactError, match=r"one/3/weights\.safetensors: listed in manifest\.json"):
            await repository.take("one", "3")
        assert repository.versions == {"one": "2"}

    asyncio.run(run())
