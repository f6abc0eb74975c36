"""The interface that every backend implements, and the classification of images through it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.backends.answer import Answer, Images
from models.backends.flight import Flight
from models.solvers.attempt import Array
from models.solvers.namespace import array_namespace
from models.solvers.settings import SolverSettings
from models.solvers.solve import Solution, Stepper, solve


class Backend(Protocol):
    """Runs the parts of a network. The arrays between the parts are of the backend's own kind.

    Several threads may use a backend at the same time. Each flight may be used by one thread at a time.
    """

    def stem(self, images: Images, /) -> Array:
        """The state at t = 0, ``[rows, *state_shape]``."""

    def step(self, method: str, /) -> Stepper:
        """One step of a method."""

    def head(self, z: Array, /) -> Array:
        """The logits ``[rows, classes]`` of the state at t = 1."""

    def to_numpy(self, array: Array, /) -> npt.NDArray[np.generic]:
        """Convert an array of the backend to a NumPy array."""

    def clock(self) -> float:
        """Seconds, to time work of this thread on an otherwise idle device.

        On a CPU it is the processor time of the thread, so that a model does not seem slow when its loader gives way to
        the models that serve. A call on a GPU returns before the GPU has computed, so there it is the wall clock, read
        after all earlier work has ended.
        """

    def flight(self, method: str | None, capacity: int, /) -> Flight:
        """An empty flight of a method; the method is None for a network without an ODE."""


def classify(backend: Backend, images: Images, solver: SolverSettings | None, batch_size: int = 64) -> Answer:
    """Classify images in batches. Every row has its own step sizes.

    Args:
        backend: the backend that computes the answer.
        images: ``[rows, 28, 28]``, at least one row.
        solver: the method and its tolerances or steps; None for a network without an ODE, whose head follows its stem.
        batch_size: the greatest number of rows that are solved together. A batch that does not fit into the caches of
            the processor takes more time per row.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        z = backend.stem(images[start : start + batch_size])
        solution = (
            _unsolved(z) if solver is None else solve(backend.step(solver.method), z, **solver.arguments._asdict())
        )
        columns = (backend.head(solution.z), *solution[1:])
        parts.append([backend.to_numpy(column) for column in columns])
    return Answer(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _unsolved(z: Array) -> Solution:
    """The solution for a network without an ODE: the state is unchanged, and all counts are 0."""
    xp = array_namespace(z)
    zeros = xp.zeros(z.shape[0], dtype=xp.int64)
    error = xp.zeros(z.shape[0], dtype=z.dtype)
    return Solution(z, steps=zeros, rejected=zeros, nfe=zeros, error=error, outcome=zeros)
