"""How fast: one connection, many, a load that rises, processes and threads."""

from benchmarks.serving import kernels
from benchmarks.serving.bench import BATCHED, OURS, SINGLE, TORCHDIFFEQ, Bench, connected
from benchmarks.serving.kernels import Kernels
from benchmarks.serving.plan import Phase
from benchmarks.serving.questions import Kind
from benchmarks.serving.report import Findings, Goal, Line, Panel, number, ratio, share
from benchmarks.serving.results import Result, Summary, middle, paired, summarise
from benchmarks.serving.servers import contender, ours

OVERHEAD = 0.4
"""Milliseconds that the service may add to the kernels at one connection."""

MANY = 32
OF_CEILING = 0.8
EIGHT = Kind("eight", images=8)
FRACTIONS = (0.2, 0.4, 0.6, 0.8, 0.9)
SIDE_BY_SIDE = (OURS, TORCHDIFFEQ, SINGLE, BATCHED)


def one(bench: Bench) -> Findings:
    """One connection, one image a request: what the service adds to the kernels."""
    found, measured, ceilings = Findings(), {command.name: list[Summary]() for command in SIDE_BY_SIDE}, []
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for seed in range(bench.rounds):
            ceilings.append(bench.kernels())
            for server in servers:
                measured[server.name].append(summarise(bench.closed(server, 1, seed=seed)))
    kernel = kernels.middle(ceilings).one_image
    for name, summaries in measured.items():
        remark = f"kernels: {number(kernel)} ms" if name == OURS.name else ""
        found.lines.append(Line("one", name, "1 connection", middle(summaries), remark))
    reached = middle(measured[OURS.name]).p50
    remark = f"kernels {number(kernel)} ms + {OVERHEAD} ms; {number(reached - kernel)} ms over them"
    found.goals.append(Goal("one", "p50 at one connection, ms", kernel + OVERHEAD, reached, least=False, remark=remark))
    return found


def saturated(bench: Bench) -> Findings:
    """As much as there is: 32 connections, bodies of one image, and for the service of eight too."""
    measured, ceilings = {command.name: list[Result]() for command in SIDE_BY_SIDE}, list[Kernels]()
    eights = list[Summary]()
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for seed in range(bench.rounds):
            ceilings.append(bench.kernels())
            for server in servers:
                measured[server.name].append(bench.closed(server, MANY, seed=seed))
            eights.append(summarise(bench.closed(servers[0], MANY, EIGHT, seed=seed)))
    found = _saturated_goals(measured, kernels.middle(ceilings))
    for name, results in measured.items():
        summary = middle([summarise(result) for result in results])
        generator = min(result.cpu_microseconds_per_request for result in results)
        remark = f"the load generator takes {number(generator)} µs a request"
        found.lines.append(Line("saturated", name, f"{MANY} connections", summary, remark))
        found.bars[Panel.throughput][name] = summary.throughput
    found.lines.append(Line("saturated", OURS.name, f"{MANY} connections, 8 images a body", middle(eights)))
    found.bars[Panel.throughput][f"{OURS.name}, 8 a body"] = middle(eights).throughput
    return found


def _saturated_goals(measured: dict[str, list[Result]], ceiling: Kernels) -> Findings:
    found = Findings()
    rates = {name: middle([summarise(result) for result in results]).throughput for name, results in measured.items()}
    mine = rates[OURS.name]
    ceilings = {"one thread": ceiling.alone, f"{ceiling.processes} processors": ceiling.together}
    batch = f"batches of {ceiling.best_batch}"
    for name, images in ceilings.items():
        claim, remark = f"of the kernels' images/s on {name}", f"{number(images)} images/s in {batch}"
        reached = ratio(mine, images)
        found.goals.append(Goal("saturated", claim, OF_CEILING, reached, least=True, remark=remark))
        found.limits[Panel.throughput][f"kernels, {name}"] = images
    for other, times in ((TORCHDIFFEQ.name, 15.0), (SINGLE.name, 2.0)):
        error, theirs, rows = paired(measured[OURS.name], measured[other])
        remark = f"test error {share(error)} and {share(theirs)} on the {rows:,} images that both answered"
        reached = ratio(mine, rates[other])
        found.goals.append(
            Goal("saturated", f"times the images/s of {other}", times, reached, least=True, remark=remark)
        )
    return found


def offered(bench: Bench) -> Findings:
    """A load that rises, for each server up to nearly what it can answer."""
    found = Findings()
    with bench.servers(*SIDE_BY_SIDE) as servers:
        for server in servers:
            capacity = bench.capacity(server, MANY)
            points = []
            for fraction in FRACTIONS:
                summary = summarise(bench.offered(server, [Phase(fraction * capacity, bench.seconds)]))
                load = f"{number(fraction * capacity)} requests/s, {fraction:.0%}"
                found.lines.append(Line("offered", server.name, load, summary))
                points.append((fraction * capacity, summary.p99))
            found.curves[Panel.latency][server.name] = points
    return found


def workers(bench: Bench) -> Findings:
    """Processes and threads, so that the defaults are chosen by measurement; and two processes of each contender."""
    two = ("--workers", "2")
    commands = [
        ours("--workers", "1", "--threads", "1", name="ours, 1 process of 1 thread"),
        ours("--workers", "1", "--threads", "2", name="ours, 1 process of 2 threads"),
        ours("--workers", "2", "--threads", "1", name="ours, 2 processes of 1 thread"),
        contender("torchdiffeq", f"{TORCHDIFFEQ.name}, 2 processes", *two),
        contender("onnx_single", f"{SINGLE.name}, 2 processes", *two),
        contender("onnx_batched", f"{BATCHED.name}, 2 processes", *two, CONTENDER_SLOTS="1"),
    ]
    found, connections = Findings(), (1, MANY)
    measured = {(command.name, count): list[Summary]() for command in commands for count in connections}
    with bench.servers(*commands) as servers:
        for seed in range(bench.rounds):
            for server in servers:
                for count in connections:
                    measured[server.name, count].append(summarise(bench.closed(server, count, seed=seed)))
    for (name, count), summaries in measured.items():
        found.lines.append(Line("workers", name, connected(count), middle(summaries)))
    return found
