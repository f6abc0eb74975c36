"""The backend of onnxruntime by itself: without torch, and what it says where it cannot be."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from models.artifact import DYNAMICS, HEAD, STEM, WEIGHTS, Artifact, ArtifactError, step_file
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings

ROOT = Path(__file__).parents[3]
SOLVER = SolverSettings.adaptive("dopri5", 1e-3)

WITHOUT_TORCH = """
import json, pathlib, sys
import numpy as np
from models import artifact
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify

opened = artifact.read(pathlib.Path(sys.argv[1]))
backend = OnnxBackend(opened.folder, opened.manifest.methods)
images = np.load(sys.argv[2])
answer = classify(backend, images, opened.manifest.default_solver)
print(json.dumps({
    "nfe": answer.nfe.tolist(),
    "logits": answer.logits.tolist(),
    "unwanted": sorted({"torch", "training", "safetensors", "onnx"} & sys.modules.keys()),
}))
"""


def test_it_works_without_torch(artifact: Artifact, onnx_backend: OnnxBackend, digits: Images, tmp_path: Path) -> None:
    np.save(tmp_path / "digits.npy", digits[:4])
    command = [sys.executable, "-c", WITHOUT_TORCH, str(artifact.folder), str(tmp_path / "digits.npy")]
    told = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert told["unwanted"] == []
    expected = classify(onnx_backend, digits[:4], artifact.manifest.default_solver)
    assert told["nfe"] == expected.nfe.tolist()
    assert np.abs(np.array(told["logits"]) - expected.logits).max() < 1e-4


@pytest.mark.parametrize("module", ["models.backends.onnx", "service.app", "training.export.write"])
def test_onnxruntime_does_not_tell_its_maker(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import {module}, onnxruntime"]
    subprocess.run(command, cwd=ROOT, env={"HOME": str(tmp_path)}, check=True, capture_output=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []  # where it would keep what it calls the device


def test_only_the_methods_asked_for_are_loaded(artifact_copy: Path, digits: Images) -> None:
    (artifact_copy / step_file("rk4")).unlink()
    backend = OnnxBackend(artifact_copy, ["dopri5"])
    assert classify(backend, digits[:1], SOLVER).digits.shape == (1,)
    with pytest.raises(KeyError):
        backend.step("rk4")


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(artifact: Artifact, onnx_backend: OnnxBackend, digits: Images, threads: int) -> None:
    answer = classify(OnnxBackend(artifact.folder, ["dopri5"], threads=threads), digits, SOLVER)
    expected = classify(onnx_backend, digits, SOLVER)
    assert answer.nfe.tolist() == expected.nfe.tolist()
    assert np.abs(answer.logits - expected.logits).max() < 1e-4


@pytest.mark.parametrize("file", [STEM, HEAD, DYNAMICS, step_file("dopri5")])
@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
def test_a_graph_that_cannot_be_loaded_is_named(artifact_copy: Path, file: str, content: bytes | None) -> None:
    if content is None:
        (artifact_copy / file).unlink()
    else:
        (artifact_copy / file).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{file}: onnxruntime cannot load it"):
        OnnxBackend(artifact_copy, ["dopri5"])


def test_graphs_without_their_weights_cannot_be_loaded(artifact_copy: Path) -> None:
    (artifact_copy / WEIGHTS).unlink()
    with pytest.raises(ArtifactError, match=rf"{STEM}: onnxruntime cannot load it"):
        OnnxBackend(artifact_copy, ["dopri5"])


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
def test_without_cuda_it_says_what_to_install(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="install onnxruntime-gpu"):
        OnnxBackend(artifact.folder, ["dopri5"], device="cuda")
