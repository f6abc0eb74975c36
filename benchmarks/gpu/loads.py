"""Part: the service under load, in bodies of several images, with the load generator on the same processors."""

from concurrent.futures import ProcessPoolExecutor

from benchmarks.gpu import card
from benchmarks.gpu.check import ONCE, Check
from benchmarks.gpu.kernels import seconds_of_batch
from benchmarks.gpu.report import Report
from benchmarks.serving import load
from benchmarks.serving.metrics import read_metrics
from benchmarks.serving.plan import Closed, Open, Phase
from benchmarks.serving.results import Summary, summarise
from benchmarks.serving.servers import Server, running

QUEUE_SECONDS = "60"
"""Time for the images of all connections, so that the service refuses none."""

WARM_UP = 1.0
GOAL = 100_000
"""Images per second that the service should answer."""

SHARE_OF_KERNELS = 0.5
LATENCY_MS = 5.0
"""The greatest p99 at half of the greatest load."""


def loads(check: Check, report: Report) -> None:
    """Measure closed loops by connections, and an open loop at half of the greatest throughput."""
    most = max(check.scale.rows)
    alone = most / seconds_of_batch(check, check.backend(check.artifact), most)
    report.fact(f"images per second of the kernels alone, {most} rows", alone)
    best = 0.0
    with load.process() as loader:
        for workers in check.scale.workers:
            flags = ("--workers", str(workers), "--queue-seconds", QUEUE_SECONDS)
            with check.service(*flags) as command, running(command) as server:
                reached = max(
                    _closed(check, report, server, loader, workers, connections, ONCE)
                    for connections in check.scale.connections
                )
                _closed(check, report, server, loader, workers, check.scale.connections[-1], "")
                _half(check, report, server, loader, workers, reached)
                best = max(best, reached)
    report.claim("images per second by the default settings", f"{GOAL:,}", f"{best:,.0f}", holds=best >= GOAL)
    share = best / alone
    report.claim(
        "share of the kernels alone", f"{SHARE_OF_KERNELS:.0%}", f"{share:.0%}", holds=share >= SHARE_OF_KERNELS
    )


def _closed(
    check: Check,
    report: Report,
    server: Server,
    loader: ProcessPoolExecutor,
    workers: int,
    connections: int,
    query: str,
) -> float:
    """Measure a closed loop; return its images per second."""
    before = read_metrics(server)
    with card.power(check.device) as power:
        plan = check.plan(server.port, Closed(connections, check.scale.seconds, WARM_UP), query)
        summary = summarise(loader.submit(load.measure, plan, check.digits).result())
    after = read_metrics(server)
    steps = after.count("odenet_batch_rows_count") - before.count("odenet_batch_rows_count")
    rows = after.count("odenet_batch_rows_sum") - before.count("odenet_batch_rows_sum")
    report.row(
        f"closed loops, bodies of {check.scale.images_of_body} images",
        workers=workers,
        connections=connections,
        solve="once" if query else "again if in doubt",
        **_cells(summary),
        rows_per_step=rows / max(1.0, steps),
        watts=power.mean,
        joules_per_image=None if power.mean is None else power.mean / max(1.0, summary.throughput),
    )
    return summary.throughput


def _half(
    check: Check, report: Report, server: Server, loader: ProcessPoolExecutor, workers: int, reached: float
) -> None:
    """Measure an open loop at half of the images per second that closed loops reached."""
    rate = max(1.0, reached / 2 / check.scale.images_of_body)
    arrivals = Open((Phase(rate, check.scale.seconds + WARM_UP),), WARM_UP)
    summary = summarise(loader.submit(load.measure, check.plan(server.port, arrivals), check.digits).result())
    report.row("an open loop at half of the throughput", workers=workers, requests_per_second=rate, **_cells(summary))
    report.claim(
        f"p99 at half of the throughput, {workers} workers",
        f"{LATENCY_MS:g} ms",
        f"{summary.p99:.3g} ms",
        holds=summary.p99 <= LATENCY_MS,
    )


def _cells(summary: Summary) -> dict[str, float | str]:
    return {
        "images_per_second": summary.throughput,
        "p50_ms": summary.p50,
        "p99_ms": summary.p99,
        "NFE": summary.nfe,
        "wrong_digits": f"{summary.wrong:,} of {summary.rows:,}",
        "failed": ", ".join(f"{reason}: {count}" for reason, count in summary.failed.items()),
    }
