"""What runs an artifact, and the answer to a batch of images."""

from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from array_api_compat import array_namespace

from models.solvers.attempt import Array
from models.solvers.settings import SolverSettings
from models.solvers.solve import Solution, Stepper, solve

Images = npt.NDArray[np.uint8]
"""Pixels of 0..255, ``[rows, 28, 28]``."""


class Backend(Protocol):
    """Runs the parts of a network; arrays of its own kind pass between them. Safe to call from several threads."""

    def stem(self, images: Images, /) -> Array:
        """The state at t = 0, ``[rows, *state_shape]``."""

    def step(self, method: str, /) -> Stepper:
        """One step of a method."""

    def head(self, z: Array, /) -> Array:
        """The logits ``[rows, classes]`` of the state at t = 1."""

    def to_numpy(self, array: Array, /) -> npt.NDArray[np.generic]:
        """An array of the backend's as NumPy's."""


class Answer(NamedTuple):
    """The answer to a batch of images, in NumPy arrays.

    Attributes:
        logits: ``[rows, classes]`` of float32.
        steps: attempted steps, ``[rows]``.
        rejected: rejected steps, ``[rows]``.
        nfe: function evaluations, ``[rows]``.
        error_estimate: the sum of the local error estimates, ``[rows]``; 0 for a fixed-step method.
        outcome: a `models.solvers.solve.Outcome` as an integer, ``[rows]``.
    """

    logits: npt.NDArray[np.float32]
    steps: npt.NDArray[np.int64]
    rejected: npt.NDArray[np.int64]
    nfe: npt.NDArray[np.int64]
    error_estimate: npt.NDArray[np.float32]
    outcome: npt.NDArray[np.int64]

    @property
    def probabilities(self) -> npt.NDArray[np.float32]:
        """The softmax of the logits, ``[rows, classes]``."""
        exponentials = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        shares: npt.NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return shares

    @property
    def digits(self) -> npt.NDArray[np.int64]:
        """The most probable class, ``[rows]``."""
        digits: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return digits


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
