"""Whether the exported graphs answer as torch does."""

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
"""What two evaluations in float32 of the same logits may differ by."""


class DisagreementError(ValueError):
    """A graph does not answer as torch does; the message names it and the difference."""


def solver_for(method: str) -> SolverSettings:
    """The setting at which a method is compared."""
    if METHODS[method].adaptive:
        return SolverSettings.adaptive(method, TOLERANCE)
    return SolverSettings(method=method, steps=STEPS)


def check(reference: Backend, backend: Backend, images: Images, methods: Iterable[str]) -> dict[str, float]:
    """Compare two backends on the same network.

    Args:
        reference: one of them.
        backend: the other.
        images: ``[rows, 28, 28]`` of uint8.
        methods: those to compare at; none for a network without an ODE.

    Returns:
        The largest difference of a logit, by method, or for the whole network.

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

    Raises:
        DisagreementError: a logit differs by more than 1e-4.
    """
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    tolerances = np.full(len(images), TOLERANCE, np.float32)
    logits = session.run(["logits"], {"image": images, "rtol": tolerances, "atol": tolerances})[0]
    return _largest_difference(path.name, classify(reference, images, solver_for(method)).logits, logits)


def _largest_difference(name: str, expected: Logits, actual: Logits) -> float:
    difference = float(np.abs(expected - actual).max())
    if not difference <= LARGEST_DIFFERENCE:  # a difference that is no number is none that is allowed
        raise DisagreementError(
            f"{name}: a logit differs by {difference:.2g} between torch and ONNX; allowed are {LARGEST_DIFFERENCE:g}"
        )
    return difference
