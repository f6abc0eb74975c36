"""The onnxruntime backend. It runs the exported graphs of an artifact on the CPU or on CUDA, without torch."""

import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.artifact import DYNAMICS, HEAD, STEM, ArtifactError, step_file
from models.backends.answer import Images
from models.backends.flight import Flight
from models.solvers.attempt import Attempt
from models.solvers.methods import METHODS
from models.solvers.settings import SolveArguments

Floats = npt.NDArray[np.float32]

Run = Callable[[], object]
"""Runs a graph on the arrays to which it is bound."""


# One arena for all sessions of the process. With an arena for each session, every graph would keep the memory of its
# largest batch: a process with the six fitted models took 423 MB of resident memory, and now takes 209 MB.
ort.create_and_register_allocator(
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT), None
)


class Graph:
    """An onnxruntime session that is called with arrays in the order of the graph's inputs.

    Args:
        path: the file of the graph; the file of the weights is in the same folder.
        device: "cpu" or "cuda".
        threads: the number of threads that share one operator on the CPU.

    Raises:
        ArtifactError: onnxruntime cannot load the graph.
    """

    def __init__(self, path: Path, device: str, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3  # errors only, because an operator cannot act on the optimiser's warnings
        providers = ["CUDAExecutionProvider"] if device == "cuda" else ["CPUExecutionProvider"]
        try:
            self._session = ort.InferenceSession(path, options, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no base class except Exception
            raise ArtifactError(f"{path}: onnxruntime cannot load it ({error})") from error
        self._run_options = ort.RunOptions()
        self._inputs = [node.name for node in self._session.get_inputs()]
        self._outputs = [node.name for node in self._session.get_outputs()]

    @property
    def output_shape(self) -> list[int]:
        """The shape of the first output, for one row."""
        shape: list[int] = self._session.get_outputs()[0].shape[1:]
        return shape

    def bind(self, inputs: Sequence[npt.NDArray[Any]], outputs: Sequence[npt.NDArray[Any]]) -> Run:
        """Bind the graph to arrays. Each call of the result reads these inputs and writes these outputs in place.

        Args:
            inputs: contiguous arrays in the order of the graph's inputs. They must live as long as the result.
            outputs: contiguous arrays in the order of the graph's outputs. They must live as long as the result.
        """
        binding = self._session.io_binding()
        for name, array in zip(self._inputs, inputs, strict=True):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in zip(self._outputs, outputs, strict=True):
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return partial(self._session.run_with_iobinding, binding)

    def __call__(self, *inputs: npt.NDArray[Any]) -> list[Any]:
        """Run the graph and return its outputs, in the order of the graph's outputs."""
        feed = dict(zip(self._inputs, inputs, strict=True))
        outputs: list[Any] = self._session.run(None, feed, self._run_options)
        return outputs

    def stop(self) -> None:
        """Make the present call and all later calls fail. Bound runs go on. Any thread may call this."""
        self._run_options.terminate = True


class OnnxStep:
    """One step of a method, computed by onnxruntime."""

    t1 = 1.0

    def __init__(self, method: str, step: Graph, dynamics: Graph) -> None:
        self.tableau = METHODS[method]
        self.graph = step
        self.dynamics_graph = dynamics

    def dynamics(self, t: Floats, z: Floats, /) -> Floats:
        """Evaluate f at the times ``[rows]`` and states ``[rows, ...]``."""
        derivative: Floats = self.dynamics_graph(t, z)[0]
        return derivative

    def __call__(self, z: Floats, k1: Floats, t: Floats, h: Floats, rtol: Floats, atol: Floats, /) -> Attempt:
        """Attempt one step."""
        return Attempt(*self.graph(z, k1, t, h, rtol, atol))


class OnnxBackend:
    """Runs exported graphs with onnxruntime. Several threads may call its sessions at the same time.

    Args:
        folder: the folder of the graphs.
        methods: the methods whose step graphs are loaded. If it is empty, the dynamics are not loaded either.
        device: "cpu", or "cuda" if the installed onnxruntime supports CUDA.
        threads: the number of threads that share one operator on the CPU.

    Raises:
        ArtifactError: a graph cannot be loaded.
        ValueError: the device is "cuda", but the installed onnxruntime does not support CUDA.
    """

    def __init__(self, folder: Path, methods: Collection[str], device: str = "cpu", threads: int = 1) -> None:
        if device == "cuda" and "CUDAExecutionProvider" not in ort.get_available_providers():
            raise ValueError("device cuda: the installed onnxruntime has no CUDA; install onnxruntime-gpu in its place")

        def graph(name: str) -> Graph:
            return Graph(folder / name, device, threads)

        self._device = device
        self._stem, self._head = graph(STEM), graph(HEAD)
        self._graphs = [self._stem, self._head]
        self._steps = {}
        if methods:
            dynamics = graph(DYNAMICS)
            self._steps = {method: OnnxStep(method, graph(step_file(method)), dynamics) for method in methods}
            self._graphs += [dynamics, *(step.graph for step in self._steps.values())]

    def stop(self) -> None:
        """Make the present call of a graph and all later calls fail. Flights go on. Any thread may call this."""
        for graph in self._graphs:
            graph.stop()

    def stem(self, images: Images, /) -> Floats:
        """The state at t = 0, ``[rows, *state_shape]``."""
        z: Floats = self._stem(images)[0]
        return z

    def step(self, method: str, /) -> OnnxStep:
        """One step of a method whose graph was loaded."""
        return self._steps[method]

    def head(self, z: Floats, /) -> Floats:
        """The logits ``[rows, classes]`` of the state at t = 1."""
        logits: Floats = self._head(z)[0]
        return logits

    def to_numpy(self, array: npt.NDArray[Any], /) -> npt.NDArray[Any]:
        """Return the array unchanged."""
        return array

    def clock(self) -> float:
        """Seconds: on the CPU of this thread; on CUDA by the wall clock, because each run waits for the device."""
        return time.thread_time() if self._device == "cpu" else time.perf_counter()

    def flight(self, method: str | None, capacity: int, /) -> "OnnxFlight":
        """An empty flight. Its arrays are in host memory, also for CUDA."""
        return OnnxFlight(self._stem, self._head, None if method is None else self._steps[method], capacity)


class Rows(NamedTuple):
    """The arrays that a step reads and updates. The first slots of each array hold the rows."""

    z: Floats
    k1: Floats
    t: Floats
    h: Floats


class OnnxFlight(Flight):
    """A flight whose graphs read and write arrays of a fixed place.

    A step reads one set of arrays and writes a second set. After each step the two sets swap roles. A graph is bound
    to its arrays once for each number of rows, because binding is slow.

    Args:
        stem: the graph from images to states.
        head: the graph from states to logits.
        step: one step of the method; None for a network without an ODE.
        capacity: the greatest number of rows.
    """

    def __init__(self, stem: Graph, head: Graph, step: OnnxStep | None, capacity: int) -> None:
        super().__init__(None if step is None else step.tableau, capacity)
        self._stem, self._head, self._step = stem, head, step
        shape = (capacity, *stem.output_shape)
        self._images = np.zeros((capacity, 28, 28), np.uint8)
        self._new, self._slopes = np.zeros((2, *shape), np.float32)
        self._out = np.zeros((capacity, *head.output_shape), np.float32)
        self._columns = np.zeros((6, capacity), np.float32)
        t, h, other_t, other_h, self._rtol, self._atols = self._columns
        z, k1, other_z, other_k1 = np.zeros((4, *shape), np.float32)
        self._now, self._next = Rows(z, k1, t, h), Rows(other_z, other_k1, other_t, other_h)
        self._zeros = np.zeros(capacity, np.float32)
        self._errors, self._accepted = np.zeros(capacity, np.float32), np.zeros(capacity, np.bool_)
        self._stems: dict[int, Run] = {}
        self._first_slopes: dict[int, Run] = {}
        self._heads: dict[int, Run] = {}
        self._bound_steps: dict[tuple[int, int], tuple[Run, Attempt]] = {}

    @property
    def _states(self) -> Floats:
        return self._now.z

    def _begin(self, images: Images | Sequence[Images], first: int, arguments: Sequence[SolveArguments]) -> None:
        rows = len(images)
        for row, image in enumerate(images):
            self._images[row] = image
        if rows not in self._stems:
            self._stems[rows] = self._stem.bind([self._images[:rows]], [self._new[:rows]])
        self._stems[rows]()
        self._start(first, arguments)

    def _restore(self, starts: Sequence[Floats], first: int, arguments: Sequence[SolveArguments]) -> None:
        for row, start in enumerate(starts):
            self._new[row] = start
        self._start(first, arguments)

    def _start(self, first: int, arguments: Sequence[SolveArguments]) -> None:
        """Start new rows in the slots from the first on. Their states are in `_new`."""
        rows, now = len(arguments), self._now
        slots = slice(first, first + rows)
        now.z[slots] = self._new[:rows]
        now.t[slots] = 0
        now.h[slots], self._rtol[slots], self._atols[slots] = zip(*arguments, strict=True)
        if self._step is not None and self._step.tableau.fsal:
            if rows not in self._first_slopes:
                inputs = [self._zeros[:rows], self._new[:rows]]
                self._first_slopes[rows] = self._step.dynamics_graph.bind(inputs, [self._slopes[:rows]])
            self._first_slopes[rows]()
            now.k1[slots] = self._slopes[:rows]

    def _attempt(self, rows: int) -> Attempt:
        key = rows, id(self._now)
        if key not in self._bound_steps:
            self._bound_steps[key] = self._bind_step(rows)
        run, tried = self._bound_steps[key]
        run()
        self._now, self._next = self._next, self._now
        return tried

    def _bind_step(self, rows: int) -> tuple[Run, Attempt]:
        """Bind the step from the present arrays to the next ones; return it with the arrays of its result."""
        if self._step is None:
            raise TypeError("a network without an ODE takes no steps")
        inputs = [array[:rows] for array in (*self._now, self._rtol, self._atols)]
        outputs = [array[:rows] for array in (*self._next, self._errors, self._accepted)]
        return self._step.graph.bind(inputs, outputs), Attempt(*outputs)

    def _time_and_step(self, slot: int) -> tuple[float, float]:
        return float(self._now.t[slot]), float(self._now.h[slot])

    def _restart(self, slot: int, arguments: SolveArguments) -> None:
        self._now.h[slot], self._rtol[slot], self._atols[slot] = arguments

    def _move(self, sources: list[int], targets: list[int]) -> None:
        self._columns[:, targets] = self._columns[:, sources]
        now = self._now
        now.z[targets] = now.z[sources]
        if self.tableau is not None and self.tableau.fsal:  # any other method computes k1 anew in each step
            now.k1[targets] = now.k1[sources]
        if self._kept is not None:
            self._kept[targets] = self._kept[sources]

    def _logits(self, slots: Sequence[int]) -> Floats:
        rows = len(slots)
        if rows not in self._heads:
            self._heads[rows] = self._head.bind([self._new[:rows]], [self._out[:rows]])
        if rows == self.rows:
            self._new[:rows] = self._now.z[:rows]
        else:
            np.take(self._now.z, slots, axis=0, out=self._new[:rows], mode="clip")  # "raise" would copy once more
        self._heads[rows]()
        return self._out[:rows].copy()
