"""Requests with different tolerances at the same time, and tolerances that follow from deadlines."""

from dataclasses import replace

import numpy as np

from benchmarks.serving.bench import BATCHED, OURS, Bench
from benchmarks.serving.contenders.common import GRAPH
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, number, ratio, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK, Result, Summary, median_of, summarise
from benchmarks.serving.servers import Server

LOOSE = Kind("loose", "tolerance=1e-1", share=0.9)
TIGHT = Kind("tight", "tolerance=1e-5", share=0.1)
MIX = (LOOSE, TIGHT)
CONNECTIONS = 32
HALF = 0.5
METHOD = "dopri5"
"""The method of the contender's graph. It is the cheapest at the tight tolerance, which every batch waits for."""

SLOWDOWN = 1.3
"""The largest allowed p99 of loose requests in the mix, relative to loose requests alone."""

TIMES_BATCHED = 2.0
DEADLINES = (2, 4, 8, 16, 50)
LIGHT = 0.3
REFERENCE = Kind("reference", "tolerance=1e-3")
"""The requests that measure the capacity. The scenario `deadline` sends a share of this capacity."""


def mixed(bench: Bench) -> Findings:
    """Measure nine loose requests to one tight request: the wait of the loose ones, and the throughput."""
    found, ratios = Findings(), []
    graph = {GRAPH: str(bench.graph(METHOD))}
    batched = replace(BATCHED, name=f"{BATCHED.name} by {METHOD}", environment=BATCHED.environment | graph)
    with bench.servers(OURS, batched) as servers:
        rates = {server.name: HALF * bench.capacity(server, CONNECTIONS, *MIX) for server in servers}
        closed: dict[str, list[Summary]] = {server.name: [] for server in servers}
        alone: dict[str, list[Summary]] = {server.name: [] for server in servers}
        mixes: dict[str, list[Result]] = {server.name: [] for server in servers}
        for seed in range(bench.rounds):
            for server in servers:
                name, rate = server.name, rates[server.name]
                closed[name].append(summarise(bench.closed(server, CONNECTIONS, *MIX, seed=seed)))
                loose_rate = rate * LOOSE.share
                alone[name].append(
                    summarise(bench.offered(server, [Phase(loose_rate, bench.seconds)], LOOSE, seed=seed))
                )
                mixes[name].append(bench.offered(server, [Phase(rate, bench.seconds)], *MIX, seed=seed))
    for name, rate in rates.items():
        found.measurements.append(
            Measurement("mixed", name, f"{CONNECTIONS} connections, loose and tight", median_of(closed[name]))
        )
        loose_alone = median_of(alone[name])
        found.measurements.append(
            Measurement("mixed", name, f"{number(rate * LOOSE.share)} requests/s, loose alone", loose_alone)
        )
        found.bars[Panel.mixed][f"{name},\nalone"] = loose_alone.p99
        for kind in MIX:
            summary = median_of([summarise(result, kind.name) for result in mixes[name]])
            load = f"{number(rate)} requests/s in the mix: {kind.name}"
            found.measurements.append(Measurement("mixed", name, load, summary))
            if kind is LOOSE:
                found.bars[Panel.mixed][f"{name},\nin the mix"] = summary.p99
                ratios.append((ratio(summary.p99, loose_alone.p99), loose_alone.p99))
    (slowdown, p99), (theirs, _) = ratios
    remark = f"{number(p99)} ms alone; {BATCHED.name}: {number(theirs)} times"
    times = ratio(median_of(closed[OURS.name]).throughput, median_of(closed[batched.name]).throughput)
    found.goals += [
        Goal(
            "mixed",
            "p99 of loose requests in the mix relative to alone",
            SLOWDOWN,
            slowdown,
            is_minimum=False,
            remark=remark,
        ),
        Goal("mixed", f"images/s relative to {batched.name}", TIMES_BATCHED, times, is_minimum=True),
    ]
    return found


def deadline(bench: Bench) -> Findings:
    """Measure requests with a deadline at a light load: the chosen tolerance, and the share answered in time."""
    found = Findings()
    with bench.servers(OURS) as (server,):
        rate = LIGHT * bench.capacity(server, CONNECTIONS, REFERENCE)
        for milliseconds in DEADLINES:
            _deadline(bench, server, rate, milliseconds, found)
    return found


def _deadline(bench: Bench, server: Server, rate: float, milliseconds: int, found: Findings) -> None:
    kind = Kind(f"{milliseconds} ms", f"deadline_ms={milliseconds}")
    summaries, in_time = [], []
    for seed in range(bench.rounds):
        result = bench.offered(server, [Phase(rate, bench.seconds)], kind, seed=seed)
        summaries.append(summarise(result))
        arrived = (result.scheduled >= result.since) & (result.scheduled < result.until)
        timely = (result.status == OK) & (1e3 * (result.finished - result.scheduled) <= milliseconds)
        in_time.append(float(timely[arrived].mean()))
    summary = median_of(summaries)
    remark = (
        f"median tolerance {summary.rtol:.1e}; in time {share(float(np.median(in_time)))} by the caller's clock, "
        f"{share(1 - summary.error_rate)} by the service's"
    )
    load = f"{number(rate)} requests/s, deadline {milliseconds} ms"
    found.measurements.append(Measurement("deadline", OURS.name, load, summary, remark))
