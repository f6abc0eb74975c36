"""Checks that the exported graphs give the same logits as torch."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from models.backends.answer import Images
from models.backends.protocol import Backend, classify
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings

Logits = npt.NDArray[np.float32]

TOLERANCE = 1e-3
STEPS = 2
LARGEST_DIFFERENCE = 1e-4
"""The greatest difference that rounding in float32 may cause between two evaluations of the same logit."""


class DisagreementError(ValueError):
    """The logits of a graph differ from those of torch; the message names the graph and the difference."""


def solver_for(method: str) -> SolverSettings:
    """The solver setting with which a method is compared."""
    if METHODS[method].adaptive:
        return SolverSettings.adaptive(method, TOLERANCE)
    return SolverSettings(method=method, steps=STEPS)


def check(reference: Backend, backend: Backend, images: Images, methods: Iterable[str]) -> dict[str, float]:
    """Compare two backends of the same network.

    Args:
        reference: the backend with the expected logits.
        backend: the backend to check.
        images: ``[rows, 28, 28]`` of uint8.
        methods: the methods to compare; empty for a network without an ODE.

    Returns:
        The largest absolute difference of a logit for each method, or for the whole network if it has no ODE.

    Raises:
        DisagreementError: a logit differs by more than 1e-4.
    """
    solvers: dict[str, SolverSettings | None] = {method: solver_for(method) for method in methods}
    differences = {}
    for name, solver in (solvers or {"the network": None}).items():
        expected, actual = (classify(b, images, solver).logits for b in (reference, backend))
        differences[name] = _largest_difference(name, expected, actual)
    return differences


def check_whole_solve(reference: Backend, path: Path, method: str, images: Images) -> float:
    """Compare `solve.onnx` with a backend.

    Args:
        reference: the backend with the expected logits.
        path: the file of the graph.
        method: the method that the graph contains.
        images: ``[rows, 28, 28]`` of uint8.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        DisagreementError: a logit differs by more than 1e-4.
    """
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    tolerances = np.full(len(images), TOLERANCE, np.float32)
    logits = session.run(["logits"], {"image": images, "rtol": tolerances, "atol": tolerances})[0]
    return _largest_difference(path.name, classify(reference, images, solver_for(method)).logits, logits)


def _largest_difference(name: str, expected: Logits, actual: Logits) -> float:
    difference = float(np.abs(expected - actual).max())
    if not difference <= LARGEST_DIFFERENCE:  # this form of the comparison also refuses NaN
        raise DisagreementError(
            f"{name}: a logit differs by {difference:.2g} between torch and ONNX; at most {LARGEST_DIFFERENCE:g} is "
            "allowed"
        )
    return difference
