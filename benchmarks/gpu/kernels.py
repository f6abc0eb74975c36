"""Part: the speed of the kernels by the number of rows, without HTTP and without the engine's scheduler."""

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.gpu.solving import flight_for, seconds_of, solve
from models.backends.protocol import Backend


def kernels(check: Check, report: Report) -> None:
    """Solve batches of test digits by the default settings, from pixels to logits."""
    backend = check.backend(check.artifact)
    for rows in check.scale.rows:
        seconds = seconds_of_batch(check, backend, rows)
        report.row(f"by {check.solver}", rows=rows, ms_per_batch=1e3 * seconds, images_per_second=rows / seconds)


def seconds_of_batch(check: Check, backend: Backend, rows: int) -> float:
    """The seconds to solve a batch of test digits by the default settings."""
    flight, images = flight_for(backend, check.solver, rows), check.images(rows)
    return seconds_of(lambda: solve(flight, images, check.solver), backend.clock, check.scale.runs)
