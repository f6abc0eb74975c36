"""What runs an artifact."""

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
    """Runs the parts of a network; arrays of its own kind pass between them.

    Safe to call from several threads, each flight from one at a time.
    """

    def stem(self, images: Images, /) -> Array:
        """The state at t = 0, ``[rows, *state_shape]``."""

    def step(self, method: str, /) -> Stepper:
        """One step of a method."""

    def head(self, z: Array, /) -> Array:
        """The logits ``[rows, classes]`` of the state at t = 1."""

    def to_numpy(self, array: Array, /) -> npt.NDArray[np.generic]:
        """An array of the backend's as NumPy's."""

    def flight(self, method: str | None, capacity: int, /) -> Flight:
        """An empty flight of a method, or, for a network without an ODE, of none."""


def classify(backend: Backend, images: Images, solver: SolverSettings | None, batch_size: int = 64) -> Answer:
    """Classify images in batches, each row solved on its own.

    Args:
        backend: what computes.
        images: ``[rows, 28, 28]``, at least one row.
        solver: the method and its tolerances or steps; None for a network without an ODE, whose head follows its stem.
        batch_size: the most rows solved together; a batch larger than the caches hold is slower a row.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        z = backend.stem(images[start : start + batch_size])
        solution = _unsolved(z) if solver is None else solve(backend.step(solver.method), z, **solver.arguments)
        columns = (backend.head(solution.z), *solution[1:])
        parts.append([backend.to_numpy(column) for column in columns])
    return Answer(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _unsolved(z: Array) -> Solution:
    """Where there is nothing to solve, the end is the beginning, and cost nothing."""
    xp = array_namespace(z)
    nothing = xp.zeros(z.shape[0], dtype=xp.int64)
    error = xp.zeros(z.shape[0], dtype=z.dtype)
    return Solution(z, steps=nothing, rejected=nothing, nfe=nothing, error=error, outcome=nothing)
