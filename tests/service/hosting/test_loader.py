"""The checks that a model must pass before it is served, and the thread that loads it."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from models import artifact as artifacts
from models.artifact import ArtifactError
from models.backends.onnx import OnnxBackend
from models.solvers.methods import METHODS
from service.hosting.loader import NICENESS, Loader, check_answers
from service.settings import Settings
from tests.artifacts import MLP, put
from tests.serving import SHIPPED


def test_a_shipped_model_has_sane_answers() -> None:
    check_answers(artifacts.read(SHIPPED), OnnxBackend(SHIPPED, METHODS))


def test_an_artifact_with_the_graphs_of_another_model_is_refused() -> None:
    with pytest.raises(ArtifactError, match=r"an answer by \w+ fails"):
        check_answers(artifacts.read(SHIPPED), OnnxBackend(MLP, []))


def test_an_answer_with_another_number_of_classes_is_refused() -> None:
    artifact = artifacts.read(MLP)
    fewer = artifact.manifest.model_copy(update={"classes": artifact.manifest.classes[:9]})
    with pytest.raises(ArtifactError, match="an answer is 2 by 10, not 2 by 9"):
        check_answers(artifacts.Artifact(artifact.folder, fewer, None, ""), OnnxBackend(MLP, []))


def test_the_loading_thread_gives_way_to_all_others(tmp_path: Path) -> None:
    put(tmp_path, "one", "1", MLP)
    loader = Loader(Settings(models=tmp_path, model="one"))  # in a variable, because the thread ends with the loader
    model = asyncio.run(loader.load("one", "1"))
    assert (model.name, model.version) == ("one", "1")
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    niceness = {
        thread.name: os.getpriority(os.PRIO_PROCESS, thread.native_id)
        for thread in threading.enumerate()
        if thread.native_id is not None
    }
    assert NICENESS in {nice for name, nice in niceness.items() if name.startswith("loader")}
    assert own < NICENESS
