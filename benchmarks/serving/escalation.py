"""The default, which solves only doubtful images tightly, beside the fixed settings that were the default before."""

from benchmarks.serving.bench import OURS, Bench
from benchmarks.serving.report import Findings, Goal, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import median_of
from benchmarks.serving.rounds import ONCE, Cell, measure

CONNECTIONS = 32
SPEEDUP = 1.2
"""The least images per second of the default, relative to the fixed settings."""


def escalated(bench: Bench) -> Findings:
    """Measure the throughput of the default and of the fixed settings at saturation."""
    default, fixed = Cell(OURS.name, CONNECTIONS, Kind(), "default"), Cell(OURS.name, CONNECTIONS, label=ONCE)
    with bench.servers(OURS) as servers:
        rounds = measure(bench, servers, (default, fixed))
    reached = rounds.ratio(default, fixed, lambda summary: summary.throughput)
    summaries = [median_of([run.summary for run in rounds.runs[cell]]) for cell in (default, fixed)]
    remark = "; ".join(f"{summary.nfe:.2f} NFE, test error {share(summary.test_error)}" for summary in summaries)
    claim = f"images/s relative to the fixed default settings, {CONNECTIONS} connections"
    return Findings(
        rounds.measurements("escalated"),
        goals=[Goal("escalated", claim, SPEEDUP, reached, is_minimum=True, remark=remark)],
    )
