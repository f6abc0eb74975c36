"""Requests with different tolerances at the same time, and tolerances that follow from deadlines."""

from dataclasses import replace

import numpy as np

from benchmarks.serving.bench import BATCHED, OURS, Bench
from benchmarks.serving.contenders.common import GRAPH
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, number, ratio, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK, Result, median_of, summarise
from benchmarks.serving.servers import Server

LOOSE = Kind("loose", "tolerance=1e-1", share=12)
TIGHT = Kind("tight", "tolerance=1e-5", share=2)
MIX = (LOOSE, TIGHT)
LOOSE_CONNECTIONS, TIGHT_CONNECTIONS = 12, 2
CONNECTIONS = 32
METHOD = "dopri5"
"""The method of the contender's graph: the cheapest one at the tight tolerance, which every batch waits for."""

SLOWDOWN = 1.3
"""The largest allowed p99 of loose requests in the mix, relative to loose requests alone."""

DEADLINES = (2, 4, 8, 16, 50)
LIGHT = 0.3
REFERENCE = Kind("reference", "tolerance=1e-3")
"""The requests that measure the capacity. The scenario `deadline` sends a share of this capacity."""


def mixed(bench: Bench) -> Findings:
    """Measure twelve loose connections together with two tight ones, and the twelve loose connections alone."""
    found = Findings()
    graph = {GRAPH: str(bench.graph(METHOD))}
    batched = replace(BATCHED, name=f"{BATCHED.name} by {METHOD}", environment=BATCHED.environment | graph)
    with bench.servers(OURS, batched) as servers:
        alone, mixes = ({server.name: list[Result]() for server in servers} for _ in range(2))
        for seed in range(bench.rounds):
            for server in servers:
                alone[server.name].append(bench.closed(server, LOOSE_CONNECTIONS, LOOSE, seed=seed))
                mixes[server.name].append(bench.closed(server, LOOSE_CONNECTIONS + TIGHT_CONNECTIONS, *MIX, seed=seed))
    slowdowns = {}
    for name in alone:
        before = [summarise(result) for result in alone[name]]
        during = {kind: [summarise(result, kind.name) for result in mixes[name]] for kind in MIX}
        load = f"{LOOSE_CONNECTIONS} loose connections"
        found.measurements.append(Measurement("mixed", name, f"{load}, alone", median_of(before)))
        for kind, summaries in during.items():
            mix = f"{load}, {TIGHT_CONNECTIONS} tight: the {kind.name}"
            found.measurements.append(Measurement("mixed", name, mix, median_of(summaries)))
        pairs = zip(during[LOOSE], before, strict=True)
        slowdowns[name] = float(np.median([ratio(mix.p99, loose.p99) for mix, loose in pairs]))
        found.bars[Panel.mixed][f"{name},\nalone"] = median_of(before).p99
        found.bars[Panel.mixed][f"{name},\nin the mix"] = median_of(during[LOOSE]).p99
    remark = f"{batched.name}: {number(slowdowns[batched.name])}"
    claim = f"p99 of {LOOSE_CONNECTIONS} loose connections with {TIGHT_CONNECTIONS} tight ones, relative to alone"
    found.goals.append(Goal("mixed", claim, SLOWDOWN, slowdowns[OURS.name], is_minimum=False, remark=remark))
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
