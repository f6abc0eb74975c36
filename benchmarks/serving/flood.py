"""Ten times the capacity by mixed requests: cheap and costly, single images and lists, from one caller."""

import numpy as np

from benchmarks.serving.bench import OURS, Bench
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, number, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK, Floats, Result, median_of, summarise
from service.settings import Settings

KINDS = (
    Kind("default", share=12),
    Kind("tight", "tolerance=1e-5", share=4),
    Kind("list", share=2, images=32),
    Kind("tight list", "tolerance=1e-5", share=1, images=16),
)
"""Each kind has about as much work as the others."""

CONNECTIONS = 32
MULTIPLES = (0.8, 1.0, 1.5)
"""The offered load whose goodput is the peak, relative to the capacity."""

FLOOD = 10.0
PEAK_SHARE = 0.9


def flood(bench: Bench) -> Findings:
    """Measure the goodput at the capacity and at ten times the capacity, in work and not in requests.

    The work of a request is the time that the server takes for it when only its kind is sent. The goodput is the work
    of the requests that are answered in their stated time, per second: 1 is a server that answers each kind as fast as
    when only this kind is sent; kinds that share their iterations may give more. The stated
    time is the longest delay by other work, `queue_seconds`, and the p99 of the kind under full load.
    """
    found, goodputs, lates = Findings(), dict[float, list[float]](), list[float]()
    with bench.servers(OURS) as (server,):
        alone = {kind.name: bench.closed(server, CONNECTIONS, kind) for kind in KINDS}
        rates = {name: result.rate for name, result in alone.items()}
        bounds = {name: Settings().queue_seconds + summarise(result).p99 / 1e3 for name, result in alone.items()}
        shares = sum(kind.share for kind in KINDS)
        capacity = shares / sum(kind.share / rates[kind.name] for kind in KINDS)
        for multiple in (*MULTIPLES, FLOOD):
            rate, summaries, measured = multiple * capacity, [], []
            for seed in range(bench.rounds):
                result = bench.offered(server, [Phase(rate, bench.seconds)], *KINDS, seed=seed)
                summaries.append(summarise(result))
                measured.append(_goodput(result, rates, bounds))
                if multiple == FLOOD:
                    lates.append(_late(result, bounds))
            goodputs[multiple] = measured
            load = f"{number(rate)} requests/s, {multiple:g} times the capacity, mixed"
            refusals = ", ".join(f"{kind.name} {share(summarise(result, kind.name).refused)}" for kind in KINDS)
            remark = f"goodput {number(float(np.median(measured)))} seconds of work per second; refused: {refusals}"
            found.measurements.append(Measurement("flood", OURS.name, load, median_of(summaries), remark))
    peak = max(float(np.median(goodputs[multiple])) for multiple in MULTIPLES)
    reached = float(np.median(goodputs[FLOOD])) / peak
    found.goals += [
        Goal("flood", "goodput of mixed work relative to the peak", PEAK_SHARE, reached, is_minimum=True),
        Goal(
            "flood",
            "share of admitted requests after their stated time",
            0.0,
            float(np.median(lates)),
            is_minimum=False,
        ),
    ]
    return found


def _goodput(result: Result, rates: dict[str, float], bounds: dict[str, float]) -> float:
    """The work that was answered in its stated time in the window of a load, in seconds per second."""
    within = (result.finished >= result.since) & (result.finished < result.until) & (result.status == OK)
    timely = result.finished - result.scheduled <= _by_request(result, bounds)
    work = 1 / _by_request(result, rates)
    return float(work[within & timely].sum()) / (result.until - result.since)


def _late(result: Result, bounds: dict[str, float]) -> float:
    """The share of the answered requests whose answer came after their stated time."""
    answered = result.status == OK
    late = result.finished - result.scheduled > _by_request(result, bounds)
    return float(late[answered].mean()) if answered.any() else float("nan")


def _by_request(result: Result, values: dict[str, float]) -> Floats:
    """The value of the kind of each request."""
    return np.array([values[kind.name] for kind in result.kinds])[result.kind]
