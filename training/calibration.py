"""One temperature that makes probabilities mean what they say (Guo et al. 2017, arXiv 1706.04599)."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.artifact import Calibration

BINS = 15
GREATEST = 20.0
"""The temperature lies between this and its reciprocal, also where a split so small or so easy would have none."""

Logits = npt.NDArray[np.float32]  # [rows, classes]
Labels = npt.NDArray[np.int64]  # [rows]


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature of the least mean negative log-likelihood, to four places.

    Args:
        logits: of a split that the network was not fitted on.
        labels: of the same rows.
    """
    limit = math.log(GREATEST)
    found = minimize_scalar(
        lambda logarithm: calibration(logits, labels, math.exp(logarithm)).nll, bounds=(-limit, limit), method="bounded"
    )
    return round(math.exp(found.x), 4)


def calibration(logits: Logits, labels: Labels, temperature: float) -> Calibration:
    """How calibrated the softmax of logits over a temperature is."""
    logarithms = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    nll = -logarithms[np.arange(len(labels)), labels].mean()
    ece = calibration_error(np.exp(logarithms.max(axis=1)), logits.argmax(axis=1) == labels)
    return Calibration(nll=float(nll), ece=ece)


def calibration_error(confidence: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_]) -> float:
    """The expected calibration error, in 15 bins of equal width.

    Args:
        confidence: the greatest probability of each answer.
        right: whether that answer is right.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence - right))  # of each bin, times its rows
    return float(gaps.sum() / len(right))
