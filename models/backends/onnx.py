"""The backend of onnxruntime: the artifact's exported graphs, on the CPU or on CUDA, without torch."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.artifact import DYNAMICS, HEAD, STEM, ArtifactError, step_file
from models.backends.answer import Images
from models.backends.flight import Flight, Places, Start
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
        self._outputs = [node.name for node in self._session.get_outputs()]

    @property
    def output_shape(self) -> list[int]:
        """The shape of the first output, for one row."""
        shape: list[int] = self._session.get_outputs()[0].shape[1:]
        return shape

    def bind(self, inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[npt.NDArray[Any]]) -> Callable[[], None]:
        """The graph on these arrays: each call reads the inputs and writes the outputs where they lie.

        Args:
            inputs: contiguous, in the order of the graph's inputs; they must outlive what is returned.
            outputs: likewise.
        """
        binding = self._session.io_binding()
        for name, array in zip(self._inputs, inputs, strict=True):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return lambda: self._session.run_with_iobinding(binding)

    def __call__(self, *inputs: npt.NDArray[Any]) -> list[Any]:
        """Run the graph, and return its outputs in their order."""
        outputs: list[Any] = self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))
        return outputs


class OnnxStep:
    """One step of a method, run by onnxruntime."""

    t1 = 1.0

    def __init__(self, method: str, step: Graph, dynamics: Graph) -> None:
        self.tableau = METHODS[method]
        self.graph = step
        self.dynamics_graph = dynamics

    def dynamics(self, t: Floats, z: Floats, /) -> Floats:
        """Evaluate f."""
        derivative: Floats = self.dynamics_graph(t, z)[0]
        return derivative

    def __call__(self, z: Floats, k1: Floats, t: Floats, h: Floats, rtol: Floats, atol: Floats, /) -> Attempt:
        """Attempt one step."""
        return Attempt(*self.graph(z, k1, t, h, rtol, atol))


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

    def flight(self, method: str | None, capacity: int, /) -> "OnnxFlight":
        """An empty flight; its arrays lie on the host, whatever the device."""
        return OnnxFlight(self._stem, self._head, None if method is None else self._steps[method], capacity)


class Rows(NamedTuple):
    """The arrays that a step goes on with; the first places of each are taken."""

    z: Floats
    k1: Floats
    t: Floats
    h: Floats


class OnnxFlight(Flight):
    """A flight whose graphs read and write its arrays in place.

    A step reads one set of arrays and writes another, and the two change parts.

    Args:
        stem: from images to states.
        head: from states to logits.
        step: of the method; None for a network without an ODE.
        capacity: the most rows.
    """

    def __init__(self, stem: Graph, head: Graph, step: OnnxStep | None, capacity: int) -> None:
        super().__init__(None if step is None else step.tableau, capacity)
        self._stem, self._head, self._step = stem, head, step
        self._images = np.zeros((capacity, 28, 28), np.uint8)
        self._now, self._next = (self._empty(stem.output_shape) for _ in range(2))
        self._rtol, self._atols = np.zeros((2, capacity), np.float32)
        self._told = np.zeros((capacity, *head.output_shape), np.float32)
        self._errors, self._accepted = np.zeros(capacity, np.float32), np.zeros(capacity, np.bool_)
        self._bound: dict[tuple[int, ...], Callable[[], None]] = {}

    def _empty(self, state_shape: list[int]) -> Rows:
        z, k1 = (np.zeros((self.capacity, *state_shape), np.float32) for _ in range(2))
        return Rows(z, k1, *np.zeros((2, self.capacity), np.float32))

    def _begin(self, images: Images | Sequence[Images], first: int, starts: list[Start]) -> None:
        for row, (image, start) in enumerate(zip(images, starts, strict=True)):
            self._images[row] = image
            self._restart(first + row, start)
        rows, places = len(images), slice(first, first + len(images))
        now, step = self._now, self._step
        now.t[places] = 0
        self._run(first, rows, lambda: self._stem.bind([self._images[:rows]], [now.z[places]]), self._stem)
        if step is not None and step.tableau.fsal:
            f = step.dynamics_graph
            self._run(first, rows, lambda: f.bind([now.t[places], now.z[places]], [now.k1[places]]), f)

    def _attempt(self, rows: int) -> Attempt:
        if self._step is None:
            raise TypeError("a network without an ODE takes no steps")
        graph, now, after = self._step.graph, self._now, self._next
        inputs = (*now, self._rtol, self._atols)
        outputs = (*after, self._errors, self._accepted)
        self._run(0, rows, lambda: graph.bind([a[:rows] for a in inputs], [a[:rows] for a in outputs]), graph)
        self._now, self._next = after, now
        return Attempt(after.z, after.k1, *(array[:rows] for array in outputs[2:]))

    def _run(self, first: int, rows: int, bind: Callable[[], Callable[[], None]], graph: Graph) -> None:
        """Run a graph on some rows of the flight's arrays; binding takes so long that each is done but once."""
        key = id(graph), first, rows, id(self._now)
        if key not in self._bound:
            self._bound[key] = bind()
        self._bound[key]()

    def _time_and_step(self, place: int) -> tuple[float, float]:
        return float(self._now.t[place]), float(self._now.h[place])

    def _restart(self, place: int, start: Start) -> None:
        self._now.h[place], self._rtol[place], self._atols[place] = start

    def _move(self, source: int, target: int) -> None:
        for array in (*self._now, self._rtol, self._atols):
            array[target] = array[source]

    def _logits(self, places: Places) -> Floats:
        if isinstance(places, slice):  # they lie side by side already
            logits = self._told[: places.stop]
            self._run(0, places.stop, lambda: self._head.bind([self._now.z[places]], [logits]), self._head)
            return logits.copy()
        return self._head(self._now.z[places])[0]  # type: ignore[no-any-return]
