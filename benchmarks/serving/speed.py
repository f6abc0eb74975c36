"""Speed: one connection, many connections, a rising load, and different numbers of processes and threads."""

from collections.abc import Sequence
from statistics import median

from benchmarks.serving import kernels
from benchmarks.serving.bench import ASGI, BATCHED, FASTAPI, OURS, SINGLE, TORCHDIFFEQ, Bench
from benchmarks.serving.forms import JSON, UNREAD
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, ProcessorTime, number, ratio
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import Summary, median_of, summarise
from benchmarks.serving.rounds import ONCE, ONE_IMAGE, Cell, Rounds, measure
from benchmarks.serving.servers import contender, ours

PROCESSOR_GOAL = 1.5
"""The largest allowed processor time of a request without the kernels, relative to a plain FastAPI route."""

LATENCY_GOAL = 2.0
"""The largest allowed p50 at one connection without the kernels, relative to the p50 of a plain FastAPI route."""

KERNEL_GOAL = 0.7
"""The smallest allowed number of images per second at 32 connections, relative to the kernels on all processors."""

JSON_GOAL = 2.5
"""The smallest allowed number of images per second with JSON bodies, relative to `solve.onnx` in onnxruntime."""

OPEN_GOAL = 8.0
"""The largest allowed p99 at `OPEN_SHARE` of the closed loop's rate, relative to the p50 at one connection."""

CONNECTIONS = 32
HALF_CONNECTIONS = 16
EIGHT = Kind("eight", f"{ONCE}&allow_degraded=false", images=8)
MLP = Kind("mlp", "model=mlp")
FLOOR = Kind("floor", form=UNREAD)
AS_JSON = Kind("JSON", ONCE, form=JSON)
OPEN_SHARE = 0.8
FRACTIONS = (0.2, 0.4, 0.6, OPEN_SHARE, 0.9)
CONTENDERS = (TORCHDIFFEQ, SINGLE, BATCHED)
FLOORS = (FASTAPI, ASGI)
OFFERED = (OURS, SINGLE, BATCHED)


def throughput(summary: Summary) -> float:
    """Images per second."""
    return summary.throughput


def one(bench: Bench) -> Findings:
    """Measure what the service adds to the kernels, at one connection with one image per request."""
    mine, mlp, floor = Cell(OURS.name, 1), Cell(OURS.name, 1, MLP, "mlp"), Cell(FASTAPI.name, 1, FLOOR)
    asgi = Cell(ASGI.name, 1, FLOOR)
    with bench.servers(OURS, *FLOORS, *CONTENDERS) as servers:
        cells = (mine, floor, asgi, *(Cell(each.name, 1) for each in CONTENDERS), mlp)
        rounds = measure(bench, servers, cells, with_kernels=True)
    kernel = [each.one_image for each in rounds.kernels]
    latency, plain = ([run.summary.p50 for run in rounds.runs[cell]] for cell in (mine, floor))
    reached = median(ratio(p50 - k, route) for p50, k, route in zip(latency, kernel, plain, strict=True))
    remark = f"{number(median(latency))} ms; kernels {number(median(kernel))} ms; FastAPI {number(median(plain))} ms"
    claim = "p50 without the kernels, relative to the p50 of a plain FastAPI route"
    return Findings(
        rounds.measurements("one"),
        _processor_times("one", rounds, (mine, mlp, floor, asgi), floor),
        [Goal("one", claim, LATENCY_GOAL, reached, is_minimum=False, remark=remark)],
    )


def saturated(bench: Bench) -> Findings:
    """Measure the throughput and the processor time of a request at 16 and 32 connections."""
    pairs = [(Cell(OURS.name, count), Cell(FASTAPI.name, count, FLOOR)) for count in (HALF_CONNECTIONS, CONNECTIONS)]
    mine, floor = pairs[-1]
    mlp, asgi = Cell(OURS.name, CONNECTIONS, MLP, "mlp"), Cell(ASGI.name, CONNECTIONS, FLOOR)
    contenders = [Cell(each.name, CONNECTIONS) for each in CONTENDERS]
    my_json, their_json = (Cell(name, CONNECTIONS, AS_JSON, "JSON") for name in (OURS.name, SINGLE.name))
    eight = Cell(OURS.name, CONNECTIONS, EIGHT, "8 images per body")
    with bench.servers(OURS, *FLOORS, *CONTENDERS) as servers:
        cells = (*(cell for pair in pairs for cell in pair), mlp, asgi, *contenders, my_json, their_json, eight)
        rounds = measure(bench, servers, cells, with_kernels=True)
    found = Findings(rounds.measurements("saturated"))
    for cell, plain in pairs:
        found.processor_times += _processor_times("saturated", rounds, (cell, plain), plain)
        found.goals.append(_processor_goal(rounds, cell, plain))
    found.processor_times += _processor_times("saturated", rounds, (mlp, asgi), floor)
    found.goals += [_kernel_goal(rounds, mine), json_goal("saturated", rounds, my_json, their_json)]
    kernels = median(each.together for each in rounds.kernels)
    found.limits[Panel.throughput][f"kernels, {rounds.kernels[0].processes} processors"] = kernels
    for name, cell in (*((cell.server, cell) for cell in (mine, *contenders)), (f"{OURS.name}, 8 per body", eight)):
        found.bars[Panel.throughput][name] = median(run.summary.throughput for run in rounds.runs[cell])
    return found


def json_goal(scenario: str, rounds: Rounds, mine: Cell, theirs: Cell) -> Goal:
    """The goal for the throughput with JSON bodies, relative to another server."""
    claim = f"images/s relative to {theirs.server}, {mine.load}"
    return Goal(scenario, claim, JSON_GOAL, rounds.ratio(mine, theirs, throughput), is_minimum=True)


def _processor_goal(rounds: Rounds, mine: Cell, floor: Cell) -> Goal:
    """The goal for the processor time of a request."""
    measured = zip(rounds.runs[mine], rounds.runs[floor], rounds.kernels, strict=True)
    reached = median(
        ratio(run.processor_time - kernels.processor_us, plain.processor_time) for run, plain, kernels in measured
    )
    claim = f"processor time without the kernels, relative to a plain FastAPI route, {mine.load}"
    return Goal("saturated", claim, PROCESSOR_GOAL, reached, is_minimum=False)


def _kernel_goal(rounds: Rounds, mine: Cell) -> Goal:
    """The goal for the throughput relative to the kernels."""
    pairs = zip(rounds.runs[mine], rounds.kernels, strict=True)
    reached = median(ratio(run.summary.throughput, kernels.together) for run, kernels in pairs)
    together = kernels.median_of(rounds.kernels)
    remark = (
        f"{number(together.together)} images/s on {together.processes} processors, batches of {together.best_batch}"
    )
    remark += f"; {number(median(run.summary.nfe for run in rounds.runs[mine]))} evaluations per image"
    claim = f"images/s relative to the kernels on all processors, {mine.load}"
    return Goal("saturated", claim, KERNEL_GOAL, reached, is_minimum=True, remark=remark)


def _processor_times(scenario: str, rounds: Rounds, cells: Sequence[Cell], floor: Cell) -> list[ProcessorTime]:
    """A line of the table of processor time for each cell.

    At one connection, the kernels take the time of one image alone. At more connections, they take the time of an image
    in the best batch, while all processors compute.
    """
    kernel = kernels.median_of(rounds.kernels)
    plain = sum(rounds.processor(floor).values())
    lines = []
    for cell in cells:
        of_kernels = 1e3 * kernel.one_image if cell.connections == 1 else kernel.processor_us
        computes = cell.kind == ONE_IMAGE
        by_role = rounds.processor(cell)
        lines.append(
            ProcessorTime(scenario, cell.server, cell.load, by_role, of_kernels if computes else 0.0, floor=plain)
        )
    return lines


def offered(bench: Bench) -> Findings:
    """Measure each server at a rising load, relative to the rate of its closed loop at 32 connections."""
    found, ratios = Findings(), []
    names = [command.name for command in OFFERED]
    rates = {name: list[float]() for name in names}
    measured = {(name, fraction): list[Summary]() for name in names for fraction in FRACTIONS}
    with bench.servers(*OFFERED) as servers:
        for seed in range(bench.rounds):
            for server in servers:
                alone = summarise(bench.closed(server, 1, ONE_IMAGE, seed=seed)).p50
                rate = max(1.0, summarise(bench.closed(server, CONNECTIONS, ONE_IMAGE, seed=seed)).throughput)
                rates[server.name].append(rate)
                for fraction in FRACTIONS:
                    summary = summarise(
                        bench.offered(server, [Phase(fraction * rate, bench.seconds)], ONE_IMAGE, seed=seed)
                    )
                    measured[server.name, fraction].append(summary)
                    if server.name == OURS.name and fraction == OPEN_SHARE:
                        ratios.append(ratio(summary.p99, alone))
    for (name, fraction), summaries in measured.items():
        rate, summary = fraction * median(rates[name]), median_of(summaries)
        found.measurements.append(Measurement("offered", name, f"{number(rate)} requests/s, {fraction:.0%}", summary))
        found.curves[Panel.latency].setdefault(name, []).append((rate, summary.p99))
    claim = f"p99 at {OPEN_SHARE:.0%} of the closed loop's rate, relative to the p50 at one connection"
    found.goals.append(Goal("offered", claim, OPEN_GOAL, median(ratios), is_minimum=False))
    return found


def workers(bench: Bench) -> Findings:
    """Measure several numbers of processes and threads, to justify the defaults, and contenders with two processes."""
    two = ("--workers", "2")
    commands = [
        ours("--workers", "1", name="ours, 1 process without threads"),
        ours("--workers", "1", "--threads", "1", name="ours, 1 process of 1 thread"),
        ours("--workers", "1", "--threads", "2", name="ours, 1 process of 2 threads"),
        ours("--workers", "2", name="ours, 2 processes without threads"),
        contender("torchdiffeq", f"{TORCHDIFFEQ.name}, 2 processes", *two),
        contender("onnx_single", f"{SINGLE.name}, 2 processes", *two),
        contender("onnx_batched", f"{BATCHED.name}, 2 processes", *two, CONTENDER_SLOTS="1"),
    ]
    cells = [Cell(command.name, count) for command in commands for count in (1, CONNECTIONS)]
    with bench.servers(*commands) as servers:
        return Findings(measure(bench, servers, cells).measurements("workers"))
