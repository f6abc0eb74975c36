"""The upper limit of the service: the artifact's kernels in a bare loop, without HTTP and without a scheduler."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from models.artifact import read
from models.backends.onnx import OnnxBackend
from models.solvers.settings import SolverSettings
from models.solvers.solve import equal_steps

BATCHES = (1, 2, 4, 8, 16, 32)
WARM_UP = 0.2
"""Seconds of warm-up before a measurement, because the first calls are slow."""

Images = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Kernels:
    """The speed of the kernels.

    Attributes:
        by_batch: images per second on one thread, by batch size.
        together: images per second of all processes, with one thread each, at the best batch size.
        processes: the number of processes, which is the number of processors.
        one_image: median milliseconds for one image.
    """

    by_batch: dict[int, float]
    together: float
    processes: int
    one_image: float

    @property
    def processor_us(self) -> float:
        """Microseconds of processor time for an image, at the best batch size and with all processors busy."""
        return 1e6 * self.processes / self.together

    @property
    def best_batch(self) -> int:
        """The batch size with the most images per second."""
        return max(self.by_batch, key=self.by_batch.__getitem__)


class Bare:
    """Stem, steps and head of an artifact at its default solver, in a plain loop.

    Args:
        folder: the artifact.
    """

    def __init__(self, folder: Path) -> None:
        default = read(folder).manifest.default_solver
        if default is None:
            raise ValueError(f"{folder} solves no ODE")
        self._solver: SolverSettings = default
        self._backend = OnnxBackend(folder, [default.method])
        self._step = self._backend.step(default.method)

    def __call__(self, images: Images) -> Floats:
        """The logits of images. The whole batch takes steps until its last row has reached t = 1."""
        z = self._backend.stem(images)
        t, tolerance = np.zeros(len(z), np.float32), np.full(len(z), self._solver.rtol or 0, np.float32)
        h = np.full_like(t, 1 / (self._solver.steps or 1))
        if self._step.tableau.adaptive:
            h = (1 / equal_steps(self._step.tableau, tolerance, tolerance)).astype(np.float32)
        k1 = self._step.dynamics(t, z) if self._step.tableau.fsal else z
        while (t < 1).any():
            tried = self._step(z, k1, t, h, tolerance, tolerance)
            z, k1, t, h = tried.z, tried.k1, tried.t, tried.h
        return self._backend.head(z)

    def timed(self, images: Images, batch: int, seconds: float) -> list[float]:
        """Solve one batch of the images after another for some seconds, and return the seconds of each batch."""
        taken, batches = [], _batches(images, batch)
        ended = time.perf_counter()
        end = ended + seconds
        while ended < end:
            began = ended
            self(next(batches))
            ended = time.perf_counter()
            taken.append(ended - began)
        return taken


def measure(folder: Path, images: Images, seconds: float, processes: int) -> Kernels:
    """Measure the kernels of an artifact at its default solver.

    Args:
        folder: the artifact.
        images: ``[rows, 28, 28]``.
        seconds: the duration of each measurement.
        processes: the number of processes to run at the same time.
    """
    bare = _bare(folder)
    bare.timed(images, BATCHES[-1], WARM_UP)
    taken = {batch: bare.timed(images, batch, seconds) for batch in BATCHES}
    by_batch = {batch: _rate(batch, times) for batch, times in taken.items()}
    best = max(by_batch, key=by_batch.__getitem__)
    together = _together(folder, images[:1024], best, seconds, processes)
    return Kernels(by_batch, together, processes, one_image=1e3 * float(np.median(taken[1])))


def median_of(measured: Sequence[Kernels]) -> Kernels:
    """The median of each field over several repetitions."""
    return Kernels(
        by_batch={batch: median(each.by_batch[batch] for each in measured) for batch in measured[0].by_batch},
        together=median(each.together for each in measured),
        processes=measured[0].processes,
        one_image=median(each.one_image for each in measured),
    )


def _together(folder: Path, images: Images, batch: int, seconds: float, processes: int) -> float:
    """Images per second of several processes at the same time. All are warmed up before any is timed."""
    with ExitStack() as stack:
        pools = [stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for _ in range(processes)]
        for length in (WARM_UP, seconds):
            timed = [pool.submit(_timed, folder, images, batch, length) for pool in pools]
            rates = [_rate(batch, each.result()) for each in timed]
    return sum(rates)


def _timed(folder: Path, images: Images, batch: int, seconds: float) -> list[float]:
    return _bare(folder).timed(images, batch, seconds)


@cache
def _bare(folder: Path) -> Bare:
    return Bare(folder)


def _rate(batch: int, taken: list[float]) -> float:
    """Images per second."""
    return batch * len(taken) / sum(taken)


def _batches(images: Images, batch: int) -> Iterator[Images]:
    """An endless sequence of batches of the images."""
    while True:
        for start in range(0, len(images) - batch + 1, batch):
            yield images[start : start + batch]
