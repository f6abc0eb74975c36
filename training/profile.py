"""Measures the work-precision table: the accuracy and the cost of each solver setting on the validation split."""

import platform
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from models.backends.answer import Answer, Images
from models.backends.protocol import Backend, classify
from models.profile import Distribution, Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome
from training.evaluate import error_rate

TOLERANCES = (1e1, 1e0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
STEPS = (1, 2, 3, 4, 8)
BATCH_SIZE = 64
TIMED_ROWS = 512
TIMED_PASSES = 3
SAMPLE = 16
"""The number of images from which the time of a measurement is estimated."""
LONG_ENOUGH = 1.0
"""Processor seconds. A pass that takes at least this long is precise enough, so it is not repeated."""

REFERENCE = SolverSettings.adaptive("dopri5", 1e-6)


def settings(methods: Iterable[str] = tuple(METHODS)) -> list[SolverSettings]:
    """The settings of the table: adaptive methods at every tolerance, fixed-step methods with several step counts."""
    chosen = {name: METHODS[name] for name in methods}
    adaptive = [
        SolverSettings.adaptive(name, tolerance)
        for name, method in chosen.items()
        if method.adaptive
        for tolerance in TOLERANCES
    ]
    fixed = [
        SolverSettings(method=name, steps=steps)
        for name, method in chosen.items()
        if not method.adaptive
        for steps in STEPS
    ]
    return fixed + adaptive


def estimate_seconds(backend: Backend, images: Images, solvers: Sequence[SolverSettings]) -> float:
    """Estimate the processor seconds of `measure`, from a few images that are solved with every setting."""
    sample = images[:SAMPLE]
    started = time.process_time()
    for solver in solvers:
        classify(backend, sample, solver, BATCH_SIZE)
    passes = len(images) + TIMED_PASSES * min(len(images), TIMED_ROWS)
    return (time.process_time() - started) * passes / len(sample)


def measure(
    backend: Backend, images: Images, labels: npt.NDArray[np.int64], solvers: Iterable[SolverSettings]
) -> Iterator[ProfilePoint]:
    """Measure each setting on the validation split, in order.

    Args:
        backend: a backend that runs on one thread, because the time per image is the processor time of one thread.
        images: ``[rows, 28, 28]`` of uint8.
        labels: ``[rows]``.
        solvers: the settings to measure.

    Yields:
        The measured point of each setting.
    """
    reference = classify(backend, images, REFERENCE, BATCH_SIZE)
    for solver in solvers:
        answer = reference if solver == REFERENCE else classify(backend, images, solver, BATCH_SIZE)
        yield ProfilePoint(
            solver=solver,
            error=error_rate(answer.digits, labels).rate,
            agreement=float((answer.digits == reference.digits).mean()),
            logit_deviation=deviation(answer, reference),
            nfe=distribution(answer.nfe),
            rejected=float(answer.rejected.mean()),
            unconverged=int((answer.outcome != Outcome.converged).sum()),
            milliseconds_per_row=1e3 * time_per_row(backend, images[:TIMED_ROWS], solver),
        )


def collect(points: list[ProfilePoint], rows: int) -> Profile:
    """Collect measured points into a profile.

    Args:
        points: the points.
        rows: the number of images that they were measured on.
    """
    return Profile(
        split="validation",
        rows=rows,
        batch_size=BATCH_SIZE,
        processor=f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
        reference=REFERENCE,
        points=points,
    )


def time_per_row(backend: Backend, images: Images, solver: SolverSettings | None) -> float:
    """The processor seconds per image for a whole answer, measured in batches.

    We keep the fastest of several passes, because other load can only slow a pass down.

    Args:
        backend: a backend that runs on one thread.
        images: ``[rows, 28, 28]`` of uint8.
        solver: the solver setting; None for a network without an ODE.
    """
    seconds: list[float] = []
    while len(seconds) < TIMED_PASSES and max(seconds, default=0) < LONG_ENOUGH:
        started = time.process_time()
        classify(backend, images, solver, BATCH_SIZE)
        seconds.append(time.process_time() - started)
    return min(seconds) / len(images)


def deviation(answer: Answer, reference: Answer) -> float:
    """The greatest absolute difference between the logits of an image in two answers, averaged over the images."""
    return float(np.abs(answer.logits - reference.logits).max(axis=1).mean())


def distribution(nfe: npt.NDArray[np.int64]) -> Distribution:
    """The distribution of the numbers of function evaluations of images, ``[rows]``."""
    p50, p90, p99 = np.percentile(nfe, (50, 90, 99), method="higher")
    return Distribution(mean=float(nfe.mean()), p50=int(p50), p90=int(p90), p99=int(p99), max=int(nfe.max()))
