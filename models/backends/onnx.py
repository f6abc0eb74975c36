"""The backend of onnxruntime: the artifact's exported graphs, on the CPU or on CUDA, without torch."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.artifact import DYNAMICS, HEAD, STEM, ArtifactError, step_file
from models.backends.protocol import Images
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS

Floats = npt.NDArray[np.float32]


class Graph:
    """A session of onnxruntime, called with arrays in the order of the graph's inputs.

    Args:
        path: the graph; its weights lie beside it.
        device: "cpu" or "cuda".
        threads: threads that share one operator on the CPU.

    Raises:
        ArtifactError: onnxruntime cannot load the graph.
    """

    def __init__(self, path: Path, device: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: what the optimiser warns of means nothing to an operator
        providers = ["CUDAExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions have no base of their own
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({error})") from error
        self._inputs = [node.name for node in self._session.get_inputs()]

    def __call__(self, *inputs: npt.NDArray[Any]) -> list[Any]:
        """Run the graph, and return its outputs in their order."""
        outputs: list[Any] = self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))
        return outputs


class OnnxStep:
    """One step of a method, run by onnxruntime."""

    t1 = 1.0

    def __init__(self, method: str, step: Graph, dynamics: Graph) -> None:
        self.tableau = METHODS[method]
        self._step = step
        self._dynamics = dynamics

    def dynamics(self, t: Floats, z: Floats, /) -> Floats:
        """Evaluate f."""
        derivative: Floats = self._dynamics(t, z)[0]
        return derivative

    def __call__(self, z: Floats, k1: Floats, t: Floats, h: Floats, rtol: Floats, atol: Floats, /) -> Attempt:
        """Attempt one step."""
        return Attempt(*self._step(z, k1, t, h, rtol, atol))


class OnnxBackend:
    """Runs exported graphs by onnxruntime, whose sessions may be called from several threads at once.

    Args:
        folder: where the graphs are.
        methods: those to load a step of; with none, the dynamics are not loaded either.
        device: "cpu", or "cuda" where the installed onnxruntime has it.
        threads: threads that share one operator on the CPU.

    Raises:
        ArtifactError: a graph cannot be loaded.
        ValueError: the installed onnxruntime has no CUDA.
    """

    def __init__(self, folder: Path, methods: Collection[str], device: str = "cpu", threads: int = 1) -> None:
        if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
            raise ValueError("device cuda: the installed onnxruntime has no CUDA; install onnxruntime-gpu in its place")

        def graph(name: str) -> Graph:
            return Graph(folder / name, device, threads)

        self._stem, self._head = graph(STEM), graph(HEAD)
        self._steps = {}
        if methods:
            dynamics = graph(DYNAMICS)
            self._steps = {method: OnnxStep(method, graph(step_file(method)), dynamics) for method in methods}

    def stem(self, images: Images, /) -> Floats:
        """The state at t = 0."""
        z: Floats = self._stem(images)[0]
        return z

    def step(self, method: str, /) -> OnnxStep:
        """One step of a method that was loaded."""
        return self._steps[method]

    def head(self, z: Floats, /) -> Floats:
        """The logits of the state at t = 1."""
        logits: Floats = self._head(z)[0]
        return logits

    def to_numpy(self, array: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """The array itself."""
        return array
