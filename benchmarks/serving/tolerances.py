"""Requests of different tolerances beside each other, and tolerances that follow from deadlines."""

from dataclasses import replace

import numpy as np

from benchmarks.serving.bench import BATCHED, OURS, Bench
from benchmarks.serving.contenders.common import GRAPH
from benchmarks.serving.plan import Phase
from benchmarks.serving.questions import Kind
from benchmarks.serving.report import Findings, Goal, Line, Panel, number, ratio, share
from benchmarks.serving.results import OK, Result, Summary, middle, summarise
from benchmarks.serving.servers import Server

LOOSE = Kind("loose", "tolerance=1e-1", share=0.9)
TIGHT = Kind("tight", "tolerance=1e-5", share=0.1)
MIX = (LOOSE, TIGHT)
MANY = 32
HALF = 0.5
METHOD = "dopri5"
"""Of the contender's graph: it is the cheapest at the tight tolerance, which every batch waits for."""

SLOWDOWN = 1.3
"""How much longer the loose may take beside the tight, at the 99th percentile."""

TIMES_BATCHED = 2.0
DEADLINES = (2, 4, 8, 16, 50)
LIGHT = 0.3
REFERENCE = Kind("reference", "tolerance=1e-3")
"""What the light load of the deadlines is measured against."""


def mixed(bench: Bench) -> Findings:
    """Nine loose requests to one tight one: how much the loose wait for the tight, and how much is answered."""
    found, ratios = Findings(), []
    graph = {GRAPH: str(bench.graph(METHOD))}
    batched = replace(BATCHED, name=f"{BATCHED.name} by {METHOD}", environment=BATCHED.environment | graph)
    with bench.servers(OURS, batched) as servers:
        rates = {server.name: HALF * bench.capacity(server, MANY, *MIX) for server in servers}
        closed: dict[str, list[Summary]] = {server.name: [] for server in servers}
        alone: dict[str, list[Summary]] = {server.name: [] for server in servers}
        beside: dict[str, list[Result]] = {server.name: [] for server in servers}
        for seed in range(bench.rounds):
            for server in servers:
                name, rate = server.name, rates[server.name]
                closed[name].append(summarise(bench.closed(server, MANY, *MIX, seed=seed)))
                loose_rate = rate * LOOSE.share
                alone[name].append(
                    summarise(bench.offered(server, [Phase(loose_rate, bench.seconds)], LOOSE, seed=seed))
                )
                beside[name].append(bench.offered(server, [Phase(rate, bench.seconds)], *MIX, seed=seed))
    for name, rate in rates.items():
        found.lines.append(Line("mixed", name, f"{MANY} connections, loose and tight", middle(closed[name])))
        lone = middle(alone[name])
        found.lines.append(Line("mixed", name, f"{number(rate * LOOSE.share)} requests/s, loose alone", lone))
        found.bars[Panel.mixed][f"{name},\nalone"] = lone.p99
        for kind in MIX:
            summary = middle([summarise(result, kind.name) for result in beside[name]])
            load = f"{number(rate)} requests/s of both: {kind.name}"
            found.lines.append(Line("mixed", name, load, summary))
            if kind is LOOSE:
                found.bars[Panel.mixed][f"{name},\nbeside the tight"] = summary.p99
                ratios.append((ratio(summary.p99, lone.p99), lone.p99))
    (slowdown, p99), (theirs, _) = ratios
    remark = f"{number(p99)} ms alone; of {BATCHED.name} {number(theirs)} times"
    times = ratio(middle(closed[OURS.name]).throughput, middle(closed[batched.name]).throughput)
    found.goals += [
        Goal("mixed", "p99 of the loose beside the tight, of alone", SLOWDOWN, slowdown, least=False, remark=remark),
        Goal("mixed", f"times the images/s of {batched.name}", TIMES_BATCHED, times, least=True),
    ]
    return found


def deadline(bench: Bench) -> Findings:
    """A deadline and no tolerance, at a light load: the tolerance that is chosen, and whether it is in time."""
    found = Findings()
    with bench.servers(OURS) as (server,):
        rate = LIGHT * bench.capacity(server, MANY, REFERENCE)
        for milliseconds in DEADLINES:
            _deadline(bench, server, rate, milliseconds, found)
    return found


def _deadline(bench: Bench, server: Server, rate: float, milliseconds: int, found: Findings) -> None:
    kind = Kind(f"{milliseconds} ms", f"deadline_ms={milliseconds}")
    summaries, in_time = [], []
    for seed in range(bench.rounds):
        result = bench.offered(server, [Phase(rate, bench.seconds)], kind, seed=seed)
        summaries.append(summarise(result))
        due = (result.scheduled >= result.since) & (result.scheduled < result.until)
        soon = (result.status == OK) & (1e3 * (result.finished - result.scheduled) <= milliseconds)
        in_time.append(float(soon[due].mean()))
    summary = middle(summaries)
    remark = (
        f"median tolerance {summary.rtol:.1e}; in time {share(float(np.median(in_time)))} by the caller's clock, "
        f"{share(1 - summary.error_rate)} by the service's"
    )
    load = f"{number(rate)} requests/s, deadline {milliseconds} ms"
    found.lines.append(Line("deadline", OURS.name, load, summary, remark))
