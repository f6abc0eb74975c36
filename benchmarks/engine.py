"""The processor time of the engine for an image: in the kernels, and in the Python code of the engine.

    python -m benchmarks.engine [--images IMAGES] [--rounds ROUNDS]

Drives the scheduler of the service in one thread, without HTTP. A number of callers send one image each, with the
default settings of a model, and send the next image when they have the answer. Prints a table in Markdown. We repeat
the measurement for several rounds and keep the fastest, because other load can only slow a round down.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from unittest.mock import patch

import typer

from benchmarks.processor import processor
from models import artifact as artifacts
from models.artifact import newest
from models.backends.onnx import Graph, OnnxBackend
from service.engine.admission import Admission
from service.engine.model import ServedModel
from service.engine.plan import SolverFields
from service.engine.request import EngineRequest
from service.engine.scheduler import Scheduler
from service.settings import Settings
from training.data import load as load_dataset

CALLERS = (1, 3, 8, 16, 32)
FLOOR = 1.0
"""No image is degraded: an image has the same cost for every number of callers."""

WARM_UP = 0.25
"""Images for the warm-up before the measurement, as a share of the measured images."""


class Cost(NamedTuple):
    """The mean cost of an image.

    Attributes:
        kernels: microseconds of processor time in onnxruntime.
        python: microseconds of processor time outside onnxruntime, including the making of the request.
        iterations: iterations of the scheduler for each image.
    """

    kernels: float
    python: float
    iterations: float

    @property
    def total(self) -> float:
        """Microseconds of processor time."""
        return self.kernels + self.python


class Kernels:
    """Measures the processor time that this thread spends in graphs.

    Attributes:
        seconds: the time so far.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measure every graph that is bound in the block."""
        bind = Graph.bind

        def watched_bind(graph: Graph, *arrays: Any) -> Callable[[], None]:
            run = bind(graph, *arrays)

            def watched_run() -> None:
                began = time.thread_time()
                run()
                self.seconds += time.thread_time() - began

            return watched_run

        with patch.object(Graph, "bind", watched_bind):
            yield


class Callers:
    """Callers of a scheduler. Each sends one image, waits for the answer, and sends the next image.

    Args:
        model: the model that answers.
        callers: the number of callers.
    """

    def __init__(self, model: ServedModel, callers: int) -> None:
        self._model = model
        self._images = load_dataset().test[0].numpy()
        self._plan = model.plan(SolverFields(), FLOOR)
        self._admission = Admission(seconds=60)
        self._ended: list[EngineRequest] = []
        self._scheduler = Scheduler(self._admission, time.perf_counter, self._ended.append)
        self._sent = 0
        for _ in range(callers):
            self._send()

    def run(self, images: int) -> int:
        """Answer a number of images, or a few more; return the number of iterations."""
        iterations, last = 0, self._sent + images
        while self._sent < last:
            self._scheduler.iterate()
            iterations += 1
            for _ in self._ended:
                self._send()
            self._ended.clear()
        return iterations

    def _send(self) -> None:
        number = self._sent % len(self._images)
        now = time.perf_counter()
        request = EngineRequest(self._model, self._images[number : number + 1], self._plan, now, now)
        self._admission.enter(request.demand)
        self._scheduler.submit(request)
        self._sent += 1


def measure(folder: Path, callers: int, images: int) -> Cost:
    """Measure the mean cost of an image.

    Args:
        folder: the artifact.
        callers: the number of callers.
        images: the number of images to answer.
    """
    artifact, kernels = artifacts.read(folder), Kernels()
    backend = OnnxBackend(folder, artifact.manifest.methods)
    with kernels.watched():
        running = Callers(ServedModel.warm(artifact, backend), callers)
        running.run(int(WARM_UP * images))
        kernels.seconds, began = 0.0, time.thread_time()
        iterations = running.run(images)
        seconds = time.thread_time() - began
    return Cost(1e6 * kernels.seconds / images, 1e6 * (seconds - kernels.seconds) / images, iterations / images)


def main(
    images: Annotated[int, typer.Option(min=1, help="Images of each measurement.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The fastest is reported.")] = 3,
) -> None:
    """Measure the processor time of the engine for an image."""
    settings = Settings()
    folder = newest(settings.models / settings.model)
    if folder is None:
        raise typer.BadParameter(f"{settings.models} has no model {settings.model}")
    typer.echo(f"{settings.model} on {processor()}\n")
    typer.echo("| callers | kernels, µs per image | Python, µs per image | Python / kernels | iterations per image |")
    typer.echo("| ---: | ---: | ---: | ---: | ---: |")
    for callers in CALLERS:
        cost = min((measure(folder, callers, images) for _ in range(rounds)), key=lambda cost: cost.total)
        share = cost.python / cost.kernels
        typer.echo(f"| {callers} | {cost.kernels:.0f} | {cost.python:.0f} | {share:.2f} | {cost.iterations:.2f} |")


if __name__ == "__main__":
    typer.run(main)
