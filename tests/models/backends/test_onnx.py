"""The onnxruntime backend: it works without torch, and it reports graphs and devices that it cannot use."""

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


def test_the_backend_works_without_torch(
    artifact: Artifact, onnx_backend: OnnxBackend, digits: Images, tmp_path: Path
) -> None:
    np.save(tmp_path / "digits.npy", digits[:4])
    command = [sys.executable, "-c", WITHOUT_TORCH, str(artifact.folder), str(tmp_path / "digits.npy")]
    output = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)
    assert output["unwanted"] == []
    expected = classify(onnx_backend, digits[:4], artifact.manifest.default_solver)
    assert output["nfe"] == expected.nfe.tolist()
    assert np.abs(np.array(output["logits"]) - expected.logits).max() < 1e-4


@pytest.mark.parametrize("module", ["models.backends.onnx", "service.app", "training.export.write"])
def test_onnxruntime_sends_no_telemetry(module: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", f"import {module}, onnxruntime"]
    subprocess.run(command, cwd=ROOT, env={"HOME": str(tmp_path)}, check=True, capture_output=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []  # telemetry would store a device identifier there


def test_only_the_requested_methods_are_loaded(artifact_copy: Path, digits: Images) -> None:
    (artifact_copy / step_file("rk4")).unlink()
    backend = OnnxBackend(artifact_copy, ["dopri5"])
    assert classify(backend, digits[:1], SOLVER).digits.shape == (1,)
    with pytest.raises(KeyError):
        backend.step("rk4")


@pytest.mark.parametrize("threads", [1, 2])
def test_the_number_of_threads_does_not_change_the_answer(
    artifact: Artifact, onnx_backend: OnnxBackend, digits: Images, threads: int
) -> None:
    answer = classify(OnnxBackend(artifact.folder, ["dopri5"], threads=threads), digits, SOLVER)
    expected = classify(onnx_backend, digits, SOLVER)
    assert answer.nfe.tolist() == expected.nfe.tolist()
    assert np.abs(answer.logits - expected.logits).max() < 1e-4


@pytest.mark.parametrize("file", [STEM, HEAD, DYNAMICS, step_file("dopri5")])
@pytest.mark.parametrize("content", [None, b"", b"not a graph"])
def test_the_error_names_a_graph_that_cannot_be_loaded(artifact_copy: Path, file: str, content: bytes | None) -> None:
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
def test_the_error_for_missing_cuda_names_the_package_to_install(artifact: Artifact) -> None:
    with pytest.raises(ValueError, match="install onnxruntime-gpu"):
        OnnxBackend(artifact.folder, ["dopri5"], device="cuda")
