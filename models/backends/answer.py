"""The types of a batch of images and of its answer."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]
"""Pixels in 0..255, ``[rows, 28, 28]``."""

Floats = npt.NDArray[np.float32]


class Answer(NamedTuple):
    """The answer to a batch of images, in NumPy arrays.

    Attributes:
        logits: the logits of the network, before the temperature, ``[rows, classes]``, float32.
        steps: the number of attempted steps, ``[rows]``.
        rejected: the number of rejected steps, ``[rows]``.
        nfe: the number of function evaluations, ``[rows]``.
        error_estimate: the sum of the local error estimates, ``[rows]``; 0 for a fixed-step method.
        outcome: a `models.solvers.solve.Outcome` as an integer, ``[rows]``.
    """

    logits: npt.NDArray[np.float32]
    steps: npt.NDArray[np.int64]
    rejected: npt.NDArray[np.int64]
    nfe: npt.NDArray[np.int64]
    error_estimate: npt.NDArray[np.float32]
    outcome: npt.NDArray[np.int64]

    def probabilities(self, temperature: float) -> Floats:
        """The softmax of the logits divided by a temperature, ``[rows, classes]``.

        Args:
            temperature: the manifest's temperature gives calibrated probabilities (Guo et al. 2017, arXiv 1706.04599).
                The temperature does not change which digit is the most probable.
        """
        exponentials = np.exp((self.logits - self.logits.max(axis=1, keepdims=True)) / np.float32(temperature))
        probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    @property
    def digits(self) -> npt.NDArray[np.int64]:
        """The most probable class, ``[rows]``."""
        digits: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return digits

    @property
    def margins(self) -> Floats:
        """The difference between the two greatest logits, ``[rows]``. A small margin means a doubtful digit."""
        greatest = np.partition(self.logits, -2, axis=1)[:, -2:]
        margins: Floats = greatest[:, 1] - greatest[:, 0]
        return margins
