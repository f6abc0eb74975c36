"""The time of each ONNX graph of an artifact, by the number of rows and by operator.

The first table gives the time per image of each part on one thread. The second table gives the share of each operator.
The shares come from the profiler of onnxruntime, which itself takes some microseconds per node. So the second table is
right only for many rows, where a node takes much longer than its profiling.

    python -m benchmarks.kernels
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Annotated, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import typer

from benchmarks.processor import processor
from models import artifact as artifacts
from models.artifact import DYNAMICS, HEAD, STEM, Artifact, step_file
from models.backends.answer import Images
from models.backends.onnx import Graph
from training.data import load

SHIPPED = Path(__file__).parents[1] / "models" / "fitted" / "odenet-mnist"

ROWS = (1, 2, 3, 8, 16, 32)
ROUNDS = 8
"""Rounds over all parts and numbers of rows. We keep the fastest, because other load can only slow a round down."""

SECONDS = 0.1
"""The duration of the measurement of one part with one number of rows in one round."""

PROFILED_ROWS = 16
PROFILED_RUNS = 100

Arrays = list[npt.NDArray[Any]]


class Part(NamedTuple):
    """A graph, with its inputs for some images.

    Attributes:
        path: the file of the graph.
        inputs: arrays in the order of the graph's inputs; each has one row per image.
    """

    path: Path
    inputs: Arrays

    @property
    def name(self) -> str:
        """The name of the part, such as "stem"."""
        return self.path.stem

    def rows(self, count: int) -> Arrays:
        """The first rows of the inputs."""
        return [array[:count] for array in self.inputs]

    def outputs(self) -> Arrays:
        """Run the graph on all rows."""
        return Graph(self.path, "cpu", threads=1)(*self.inputs)


class Operator(NamedTuple):
    """The share of one kind of operator in a graph.

    Attributes:
        kind: the name of the operator, such as "Conv", in the graph that onnxruntime has optimised.
        nodes: the number of nodes with this operator.
        per_image: the time of these nodes per image, in microseconds.
    """

    kind: str
    nodes: int
    per_image: float


def parts(artifact: Artifact, images: Images) -> list[Part]:
    """The graphs that an answer at the default solver runs. The step is the first step of each image.

    Args:
        artifact: the artifact.
        images: ``[rows, 28, 28]`` of uint8.
    """
    folder, default = artifact.folder, artifact.manifest.default_solver
    stem = Part(folder / STEM, [images])
    z = stem.outputs()[0]
    ends = [stem, Part(folder / HEAD, [z])]
    if default is None:
        return ends
    t, h, tolerance = (np.full(len(images), value, np.float32) for value in (0, 0.5, default.rtol or 0))
    dynamics = Part(folder / DYNAMICS, [t, z])
    step = Part(folder / step_file(default.method), [z, dynamics.outputs()[0], t, h, tolerance, tolerance])
    return [*ends, dynamics, step]


def times(part: Part, rows: Sequence[int] = ROWS, rounds: int = ROUNDS, seconds: float = SECONDS) -> list[float]:
    """Measure the microseconds per image of a part, for each number of rows.

    Args:
        part: the part.
        rows: the numbers of rows.
        rounds: the number of rounds; the fastest counts.
        seconds: the duration of the measurement of one number of rows in one round.
    """
    runs = [Run(part, count) for count in rows]
    fastest = [min(taken) for taken in zip(*([run.timed(seconds) for run in runs] for _ in range(rounds)), strict=True)]
    return [1e6 * taken / count for taken, count in zip(fastest, rows, strict=True)]


class Run:
    """A graph that is bound to arrays, as in the service: each run reads and writes the same arrays.

    Args:
        part: the graph and its inputs.
        rows: the number of rows.
    """

    def __init__(self, part: Part, rows: int) -> None:
        graph = Graph(part.path, "cpu", threads=1)
        self._inputs = part.rows(rows)
        self._outputs = graph(*self._inputs)
        self._run: Callable[[], object] = graph.bind(self._inputs, self._outputs)

    def timed(self, seconds: float) -> float:
        """Run for some seconds, and return the mean seconds of a run."""
        runs, began = 0, time.perf_counter()
        end = ended = began + seconds
        while ended <= end:
            self._run()
            runs, ended = runs + 1, time.perf_counter()
        return (ended - began) / runs


def operators(part: Part, rows: int = PROFILED_ROWS, runs: int = PROFILED_RUNS) -> list[Operator]:
    """The operators of a part, the slowest first. The time of a node is the median of its times over the runs.

    Args:
        part: the part.
        rows: the number of rows.
        runs: the number of profiled runs.
    """
    taken: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for kind, node, microseconds in _profile(part, rows, runs):
        taken[kind, node].append(microseconds)
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    for (kind, _), each in taken.items():
        by_kind[kind].append(median(each) / rows)
    found = [Operator(kind, len(nodes), sum(nodes)) for kind, nodes in by_kind.items()]
    return sorted(found, key=lambda operator: operator.per_image, reverse=True)


def _profile(part: Part, rows: int, runs: int) -> Iterator[tuple[str, str, int]]:
    """The operator, the name and the microseconds of every node in every run."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(part.path, options, providers=["CPUExecutionProvider"])
        inputs = dict(zip((node.name for node in session.get_inputs()), part.rows(rows), strict=True))
        for _ in range(runs):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text())
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            yield event["args"]["op_name"], event["name"], event["dur"]


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _head(cells: Sequence[object]) -> str:
    return f"{_row(cells)}\n{_row(['---'] * len(cells))}"


def main(
    folder: Annotated[
        Path, typer.Argument(help="The folder of a model name; its newest version is measured.")
    ] = SHIPPED,
) -> None:
    """Print the microseconds per image of each graph, by the number of rows and by operator, as Markdown."""
    if (version := artifacts.newest(folder)) is None:
        raise typer.BadParameter(f"{folder} has no version of a model")
    measured = parts(artifacts.read(version), load().validation.images[: max(ROWS)].numpy())
    typer.echo(f"{processor()}\n\n{_head(['µs per image, by rows', *ROWS])}")
    for part in measured:
        typer.echo(_row([part.name, *(f"{each:.0f}" for each in times(part))]))
    typer.echo(f"\n{_head([f'{PROFILED_ROWS} rows', 'operator', 'nodes', 'µs per image'])}")
    for part in measured:
        for kind, nodes, per_image in operators(part):
            typer.echo(_row([part.name, kind, nodes, f"{per_image:.1f}"]))


if __name__ == "__main__":
    typer.run(main)
