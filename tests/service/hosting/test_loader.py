"""The checks that a model must pass before it is served, and the thread that loads it."""

import asyncio
import os
import threading
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from models import artifact as artifacts
from models.artifact import ArtifactError
from models.backends.onnx import OnnxBackend
from models.solvers.methods import METHODS
from service.hosting.loader import Loader, check_answers, load
from service.processors import NICENESS
from service.settings import Settings
from tests.artifacts import MLP, put, rewrite
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


def graph(node: onnx.NodeProto, *constants: onnx.TensorProto) -> bytes:
    """A graph of one node, from images to a state."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["rows", 28, 28])
    state = helper.make_tensor_value_info("state", TensorProto.FLOAT, ["rows", 784])
    opsets = [helper.make_opsetid("", 18)]
    whole = helper.make_graph([node], "stem", [images], [state], constants)
    content: bytes = helper.make_model(whole, opset_imports=opsets, ir_version=9).SerializeToString()
    return content


def endless() -> bytes:
    """A graph with a loop that does not end."""
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    goes_on = helper.make_tensor_value_info("goes_on", TensorProto.BOOL, [])
    still = helper.make_tensor_value_info("still", TensorProto.BOOL, [])
    before = helper.make_tensor_value_info("before", TensorProto.FLOAT, None)
    after = helper.make_tensor_value_info("after", TensorProto.FLOAT, None)
    nodes = [helper.make_node("Identity", ["goes_on"], ["still"]), helper.make_node("Identity", ["before"], ["after"])]
    body = helper.make_graph(nodes, "body", [count, goes_on, before], [still, after])
    constants = [
        helper.make_tensor("true", TensorProto.BOOL, [], [True]),
        helper.make_tensor("start", TensorProto.FLOAT, [1, 784], [0.0] * 784),
    ]
    return graph(helper.make_node("Loop", ["", "true", "start"], ["state"], body=body), *constants)


def test_a_graph_that_does_not_end_is_stopped_and_refused(tmp_path: Path) -> None:
    folder = put(tmp_path, "one", "1", MLP, rewrite("stem.onnx", endless()))
    artifact = artifacts.read(folder)
    with pytest.raises(ArtifactError, match=r"an answer fails .*terminate"):
        check_answers(artifact, OnnxBackend(folder, []), 0.1)


def branch(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node that runs another node under a condition."""
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("state", TensorProto.FLOAT, None)])
    return helper.make_node("If", ["condition"], ["state"], then_branch=inner, else_branch=inner)


@pytest.mark.parametrize("domain", ["elsewhere", "com.microsoft"], ids=["unknown", "of onnxruntime"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_graph_with_an_operator_that_is_not_of_onnx_is_refused(tmp_path: Path, domain: str, nested: bool) -> None:
    node = helper.make_node("Gelu", ["images"], ["state"], domain=domain)
    folder = put(tmp_path, "one", "1", MLP, rewrite("stem.onnx", graph(branch(node) if nested else node)))
    with pytest.raises(ArtifactError, match=rf"stem\.onnx: it uses operators of the domain {domain}"):
        load(folder, Settings(models=tmp_path, model="one"))


@pytest.mark.parametrize("outside", ["../secret", "../../secret"])
def test_a_graph_that_reads_a_file_outside_of_its_folder_is_refused(tmp_path: Path, outside: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(4 * 784))
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "secret").write_bytes(bytes(4 * 784))
    secret = TensorProto(name="secret", data_type=TensorProto.FLOAT, dims=[1, 784], data_location=TensorProto.EXTERNAL)
    secret.external_data.add(key="location", value=outside)
    reading = graph(helper.make_node("Identity", ["secret"], ["state"]), secret)
    folder = put(tmp_path, "one", "1", MLP, rewrite("stem.onnx", reading))
    with pytest.raises(ArtifactError, match=r"stem\.onnx: onnxruntime cannot load it"):
        load(folder, Settings(models=tmp_path, model="one"))


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
    nicest = min(own + NICENESS, 19)  # 19 is the limit of the system
    assert {nice for name, nice in niceness.items() if name.startswith("loader")} == {nicest}
    assert own < nicest, "this test needs a process that is not the nicest already"
