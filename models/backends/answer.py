"""Images, and the answer to a batch of them."""

from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
"""Pixels of 0..255, ``[rows, 28, 28]``."""

Floats = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """The answer to a batch of images, in NumPy arrays.

    Attributes:
        logits: ``[rows, classes]`` of float32, as the network gives them.
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

    @classmethod
    def empty(cls, rows: int, classes: int) -> Self:
        """An answer to be filled in."""
        steps, rejected, nfe, outcome = np.zeros((4, rows), np.int64)
        logits, error_estimate = np.zeros((rows, classes), np.float32), np.zeros(rows, np.float32)
        return cls(logits, steps, rejected, nfe, error_estimate, outcome)

    def put(self, row: int, other: "Answer", place: int) -> None:
        """Fill a row in with one of another answer."""
        columns: tuple[npt.NDArray[Any], ...] = self
        told: tuple[npt.NDArray[Any], ...] = other
        for column, values in zip(columns, told, strict=True):
            column[row] = values[place]

    def probabilities(self, temperature: float) -> Floats:
        """The softmax of the logits over a temperature, ``[rows, classes]``.

        Args:
            temperature: that of the manifest makes them calibrated (Guo et al. 2017, arXiv 1706.04599); any leaves the
                digits as they are.
        """
        exponentials = np.exp((self.logits - self.logits.max(axis=1, keepdims=True)) / np.float32(temperature))
        shares: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
        return shares

    @property
    def digits(self) -> npt.NDArray[np.int64]:
        """The most probable class, ``[rows]``."""
        digits: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return digits
