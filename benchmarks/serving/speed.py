"""Speed: one connection, many connections, a rising load, and different numbers of processes and threads."""

from benchmarks.serving import kernels
from benchmarks.serving.bench import BATCHED, OURS, SINGLE, TORCHDIFFEQ, Bench, connected
from benchmarks.serving.kernels import Kernels
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, number, ratio, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import Result, Summary, median_of, paired, summarise
from benchmarks.serving.servers import contender, ours

OVERHEAD = 0.4
"""Milliseconds that the service may add to the time of the kernels at one connection."""

CONNECTIONS = 32
KERNEL_SHARE = 0.8
"""The goal for the images per second of the service, relative to the kernels."""

EIGHT = Kind("eight", images=8)
FRACTIONS = (0.2, 0.4, 0.6, 0.8, 0.9)
SIDE_BY_SIDE = (OURS, TORCHDIFFEQ, SINGLE, BATCHED)


def one(bench: Bench) -> Findings:
    """Measure what the service adds to the kernels, at one connection with one image per request."""
    found, measured, kernel_runs = Findings(), {command.name: list[Summary]() for command in SIDE_BY_SIDE}, []
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for seed in range(bench.rounds):
            kernel_runs.append(bench.kernels())
            for server in servers:
                measured[server.name].append(summarise(bench.closed(server, 1, seed=seed)))
    kernel = kernels.median_of(kernel_runs).one_image
    for name, summaries in measured.items():
        remark = f"kernels: {number(kernel)} ms" if name == OURS.name else ""
        found.measurements.append(Measurement("one", name, "1 connection", median_of(summaries), remark))
    reached = median_of(measured[OURS.name]).p50
    remark = f"kernels {number(kernel)} ms + {OVERHEAD} ms; the service adds {number(reached - kernel)} ms"
    found.goals.append(
        Goal("one", "p50 at one connection, ms", kernel + OVERHEAD, reached, is_minimum=False, remark=remark)
    )
    return found


def saturated(bench: Bench) -> Findings:
    """Measure the throughput at 32 connections with one image per body; for the service also with eight images."""
    measured, kernel_runs = {command.name: list[Result]() for command in SIDE_BY_SIDE}, list[Kernels]()
    eights = list[Summary]()
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for seed in range(bench.rounds):
            kernel_runs.append(bench.kernels())
            for server in servers:
                measured[server.name].append(bench.closed(server, CONNECTIONS, seed=seed))
            eights.append(summarise(bench.closed(servers[0], CONNECTIONS, EIGHT, seed=seed)))
    found = _saturated_goals(measured, kernels.median_of(kernel_runs))
    for name, results in measured.items():
        summary = median_of([summarise(result) for result in results])
        generator = min(result.cpu_microseconds_per_request for result in results)
        remark = f"the load generator takes {number(generator)} µs a request"
        found.measurements.append(Measurement("saturated", name, f"{CONNECTIONS} connections", summary, remark))
        found.bars[Panel.throughput][name] = summary.throughput
    found.measurements.append(
        Measurement("saturated", OURS.name, f"{CONNECTIONS} connections, 8 images a body", median_of(eights))
    )
    found.bars[Panel.throughput][f"{OURS.name}, 8 a body"] = median_of(eights).throughput
    return found


def _saturated_goals(measured: dict[str, list[Result]], kernel: Kernels) -> Findings:
    found = Findings()
    rates = {
        name: median_of([summarise(result) for result in results]).throughput for name, results in measured.items()
    }
    mine = rates[OURS.name]
    limits = {"one thread": kernel.alone, f"{kernel.processes} processors": kernel.together}
    batch = f"batches of {kernel.best_batch}"
    for name, images in limits.items():
        claim, remark = f"images/s relative to the kernels on {name}", f"{number(images)} images/s in {batch}"
        reached = ratio(mine, images)
        found.goals.append(Goal("saturated", claim, KERNEL_SHARE, reached, is_minimum=True, remark=remark))
        found.limits[Panel.throughput][f"kernels, {name}"] = images
    for other, times in ((TORCHDIFFEQ.name, 15.0), (SINGLE.name, 2.0)):
        error, theirs, rows = paired(measured[OURS.name], measured[other])
        remark = f"test error {share(error)} and {share(theirs)} on the {rows:,} images that both answered"
        reached = ratio(mine, rates[other])
        found.goals.append(
            Goal("saturated", f"images/s relative to {other}", times, reached, is_minimum=True, remark=remark)
        )
    return found


def offered(bench: Bench) -> Findings:
    """Measure each server at a rising load, up to 90 % of its capacity."""
    found = Findings()
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for server in servers:
            capacity = bench.capacity(server, CONNECTIONS)
            points = []
            for fraction in FRACTIONS:
                summary = summarise(bench.offered(server, [Phase(fraction * capacity, bench.seconds)]))
                load = f"{number(fraction * capacity)} requests/s, {fraction:.0%}"
                found.measurements.append(Measurement("offered", server.name, load, summary))
                points.append((fraction * capacity, summary.p99))
            found.curves[Panel.latency][server.name] = points
    return found


def workers(bench: Bench) -> Findings:
    """Measure several numbers of processes and threads, to justify the defaults, and contenders with two processes."""
    two = ("--workers", "2")
    commands = [
        ours("--workers", "1", "--threads", "1", name="ours, 1 process of 1 thread"),
        ours("--workers", "1", "--threads", "2", name="ours, 1 process of 2 threads"),
        ours("--workers", "2", "--threads", "1", name="ours, 2 processes of 1 thread"),
        contender("torchdiffeq", f"{TORCHDIFFEQ.name}, 2 processes", *two),
        contender("onnx_single", f"{SINGLE.name}, 2 processes", *two),
        contender("onnx_batched", f"{BATCHED.name}, 2 processes", *two, CONTENDER_SLOTS="1"),
    ]
    found, connections = Findings(), (1, CONNECTIONS)
    measured = {(command.name, count): list[Summary]() for command in commands for count in connections}
    with bench.servers(*commands) as servers:
        for seed in range(bench.rounds):
            for server in servers:
                for count in connections:
                    measured[server.name, count].append(summarise(bench.closed(server, count, seed=seed)))
    for (name, count), summaries in measured.items():
        found.measurements.append(Measurement("workers", name, connected(count), median_of(summaries)))
    return found
