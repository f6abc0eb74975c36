"""Part: whether an answer depends on the other images of its batch. The report says what holds."""

import numpy as np

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.gpu.solving import flight_for, solve
from models.backends.answer import Answer, Images
from models.backends.protocol import Backend
from models.solvers.settings import SolverSettings

TIGHT = SolverSettings.adaptive("bosh3", 1e-3)


def invariance(check: Check, report: Report) -> None:
    """Solve the same images in several arrangements, and compare the answers with those of one batch."""
    backend = check.backend(check.artifact)
    rows = max(check.scale.rows)
    images = check.images(rows)
    order = np.random.default_rng(0).permutation(rows)
    for solver in (check.solver, TIGHT):
        expected = _in_batches(backend, images, solver, rows)
        shuffled = _in_batches(backend, images[order], solver, rows)
        arrangements = {"the same batch again": _in_batches(backend, images, solver, rows)}
        arrangements["other neighbours, in another order"] = Answer._make(
            column[np.argsort(order)] for column in shuffled
        )
        arrangements |= {
            f"batches of {size}": _in_batches(backend, images, solver, size) for size in check.scale.rows if size < rows
        }
        for arrangement, answer in arrangements.items():
            report.row(
                f"{rows} images, compared with one batch",
                solver=str(solver),
                arrangement=arrangement,
                equal_bits=_share_of_equal(expected, answer),
                greatest_difference_of_logits=float(np.abs(answer.logits - expected.logits).max()),
                other_digits=int((answer.digits != expected.digits).sum()),
                other_nfe=int((answer.nfe != expected.nfe).sum()),
            )


def _in_batches(backend: Backend, images: Images, solver: SolverSettings, size: int) -> Answer:
    """The answers to images that are solved in batches of a size."""
    flight = flight_for(backend, solver, size)
    answers = [solve(flight, images[start : start + size], solver) for start in range(0, len(images), size)]
    return Answer(*(np.concatenate(column) for column in zip(*answers, strict=True)))


def _share_of_equal(one: Answer, other: Answer) -> float:
    """The share of the images whose logits have the same bits."""
    return float((one.logits == other.logits).all(axis=1).mean())
