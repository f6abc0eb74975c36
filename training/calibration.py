"""Calibration of the probabilities with one temperature (Guo et al. 2017, arXiv 1706.04599)."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.artifact import Calibration

BINS = 15
GREATEST = 20.0
"""The temperature is limited to the range from the reciprocal of this to this. A split that is small, or that has no
errors, may have no finite optimum without the limit."""

Logits = npt.NDArray[np.float32]  # [rows, classes]
Labels = npt.NDArray[np.int64]  # [rows]


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature with the least mean negative log-likelihood, rounded to four decimal places.

    Args:
        logits: the logits on a split that the network was not fitted on, ``[rows, classes]``.
        labels: the labels of the same rows, ``[rows]``.
    """
    limit = math.log(GREATEST)
    found = minimize_scalar(
        lambda logarithm: calibration(logits, labels, math.exp(logarithm)).nll, bounds=(-limit, limit), method="bounded"
    )
    return round(math.exp(found.x), 4)


def calibration(logits: Logits, labels: Labels, temperature: float) -> Calibration:
    """The calibration of the softmax of the logits divided by a temperature."""
    logarithms = log_softmax(logits.astype(np.float64) / temperature, axis=1)
    nll = -logarithms[np.arange(len(labels)), labels].mean()
    ece = calibration_error(np.exp(logarithms.max(axis=1)), logits.argmax(axis=1) == labels)
    return Calibration(nll=float(nll), ece=ece)


def calibration_error(confidence: npt.NDArray[np.floating[Any]], right: npt.NDArray[np.bool_]) -> float:
    """The expected calibration error, with 15 bins of equal width.

    Args:
        confidence: the greatest probability of each answer, ``[rows]``.
        right: whether the answer is correct, ``[rows]``.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.abs(np.bincount(bins, confidence - right))  # the gap of each bin, multiplied by its number of rows
    return float(gaps.sum() / len(right))
