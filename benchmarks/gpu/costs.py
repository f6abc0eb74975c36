"""Part: the cost model of the engine, beside the measured times of whole solves."""

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.gpu.solving import flight_for, seconds_of, solve
from models.solvers.settings import SolverSettings
from service.engine.model import LARGEST_BATCH, ServedModel

OTHERS = (SolverSettings.adaptive("heun2", 1.0), SolverSettings.adaptive("bosh3", 1e-3))
"""Settings whose steps the cost model does not time: the rungs of the default ladder."""

FACTOR = 1.5
"""The greatest ratio of the measured and the estimated time, or the other way round."""


def costs(check: Check, report: Report) -> None:
    """Compare estimated and measured seconds, by settings and number of rows."""
    backend = check.backend(check.artifact)
    measured = ServedModel.warm(check.artifact, backend, check.device).costs
    counts = [rows for rows in check.scale.rows if rows <= LARGEST_BATCH[check.device]]
    for rows in counts:
        report.row(
            "the cost model",
            rows=rows,
            stem_us=1e6 * measured.stem[rows],
            evaluation_us=1e6 * measured.evaluation[rows],
            head_us=1e6 * measured.head[rows],
        )
    for solver in (check.solver, *OTHERS):
        worst = 1.0
        for rows in counts:
            flight, images = flight_for(backend, solver, rows), check.images(rows)
            nfe = float(solve(flight, images, solver).nfe.mean())
            seconds = seconds_of(lambda: solve(flight, images, solver), backend.clock, check.scale.runs)  # noqa: B023
            estimate = measured.answer(rows, nfe)
            worst = max(worst, estimate / seconds, seconds / estimate)
            report.row(
                "estimated and measured time of a batch",
                solver=str(solver),
                rows=rows,
                NFE=nfe,
                estimated_us=1e6 * estimate,
                measured_us=1e6 * seconds,
                ratio=seconds / estimate,
            )
        report.claim(
            f"the estimate of {solver}, wrong by a factor of", f"{FACTOR:g}", f"{worst:.2f}", holds=worst <= FACTOR
        )
