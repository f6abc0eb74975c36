"""More than the service can answer: it loosens the tolerance where it may, and refuses at once where it may not."""

import numpy as np

from benchmarks.serving.bench import OURS, Bench
from benchmarks.serving.plan import Phase
from benchmarks.serving.questions import Kind
from benchmarks.serving.report import Findings, Goal, Line, Panel, number, ratio, share
from benchmarks.serving.results import OK, Result, Summary, middle, summarise
from benchmarks.serving.servers import Server, ours
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings
from service.processors import usable_processors

TIGHT = 1e-5
STRICT = Kind("strict", f"tolerance={TIGHT:g}")
LISTS = Kind("strict, 8 images", f"tolerance={TIGHT:g}", images=8)
"""What is offered ten times over: were it single images, the generator would take a third of the machine to send."""

YIELDING_LISTS = Kind("yielding, 8 images", f"tolerance={TIGHT:g}&allow_degraded=true", images=8)
YIELDING = Kind("yielding", f"tolerance={TIGHT:g}&allow_degraded=true")
MANY = 64
NEAR = 0.001
"""By how much the test error of degraded answers may differ."""

QUEUE_ROWS = 256
LATE = 2.0
"""How many times the bound an answer may take to count as goodput: in a flood all that is admitted waits for about as
long as the bound says."""

PEAK_SHARE = 0.9
SHEDDING_SHARE = 0.1
TIMES = (0.5, 1.0, 2.0, 5.0)
MOST = 10.0


def twice(bench: Bench) -> Findings:
    """Twice the load that can be solved so tightly, where answers may be degraded; then half of it."""
    found, pushed, calm, halves = Findings(), list[Summary](), list[Summary](), list[Summary]()
    with bench.servers(OURS) as (server,):
        capacity = bench.capacity(server, MANY, STRICT)
        for _ in range(bench.rounds):
            phases = [Phase(2 * capacity, bench.seconds), Phase(capacity / 2, bench.seconds)]
            result = bench.offered(server, phases, YIELDING)
            fall, half = result.until - bench.seconds, result.until - bench.seconds / 2
            pushed.append(summarise(result, until=fall))
            calm.append(summarise(result, since=fall, until=half))
            halves.append(summarise(result, since=half))
    for load, summaries in (
        (f"{number(2 * capacity)} requests/s, twice the capacity", pushed),
        (f"then {number(capacity / 2)} requests/s, first half", calm),
        ("second half", halves),
    ):
        summary = middle(summaries)
        found.lines.append(Line("twice", OURS.name, load, summary, f"degraded: {share(summary.degraded)}"))
    degraded = middle(pushed)
    strict = _strict_error(bench, result)
    remark = f"{share(degraded.test_error)} and, without degradation, {share(strict)} of the same images"
    difference = abs(_error(result) - strict)
    found.goals += [
        Goal("twice", "share refused", 0.0, degraded.refused, least=False),
        Goal("twice", "difference of the test error", NEAR, difference, least=False, remark=remark),
        Goal("twice", "share degraded after the load has fallen", 0.0, middle(halves).degraded, least=False),
    ]
    return found


def ten(bench: Bench) -> Findings:
    """Ten times the capacity, strict: what cannot be answered soon is refused, and refusing costs little."""
    found, flooded, costs = Findings(), list[Summary](), list[float]()
    bounded = ours("--queue-rows", str(QUEUE_ROWS), "--max-images", str(QUEUE_ROWS))
    with bench.servers(bounded) as (server,):
        alone = summarise(bench.closed(server, 1, LISTS)).p50
        before = server.cpu_seconds()
        closed = bench.closed(server, MANY // 2, LISTS)
        per_answer = (server.cpu_seconds() - before) / _count(closed, answered=True)
        peak = summarise(closed)
        rate = max(1.0, peak.throughput / LISTS.images)
        rows = QUEUE_ROWS * usable_processors()  # each worker has a queue
        bound = 1e3 * rows / peak.throughput + alone
        for seed in range(bench.rounds):
            before = server.cpu_seconds()
            result = bench.offered(server, [Phase(MOST * rate, bench.seconds)], LISTS, seed=seed)
            on_refusals = server.cpu_seconds() - before - per_answer * _count(result, answered=True)
            costs.append(on_refusals / _count(result, answered=False))
            flooded.append(summarise(result, bound=LATE * bound))
        _rising(bench, server, rate, bound, found)
    flood, cost = middle(flooded), float(np.median(costs))
    generator = f"the load generator takes {number(result.cpu_microseconds_per_request)} µs a request"
    remark = f"refused: p50 {number(flood.refused_p50)} ms, p99 {number(flood.refused_p99)} ms; {generator}"
    found.lines += [
        Line("ten", OURS.name, f"{MANY // 2} connections, {LISTS.name}", peak),
        Line("ten", OURS.name, f"{number(MOST * rate)} requests/s, ten times the peak, {LISTS.name}", flood, remark),
    ]
    found.curves[Panel.overload]["refusing"].append((MOST, flood.goodput))
    claims = (
        (
            "goodput, of the peak",
            PEAK_SHARE,
            flood.goodput / peak.throughput,
            f"the peak: {number(peak.throughput)} images/s",
        ),
        ("p99 of the admitted, ms", bound, flood.p99, f"{rows} rows at the peak, and {number(alone)} ms alone"),
        (
            "processor time of a refusal, of that of an answer",
            SHEDDING_SHARE,
            ratio(cost, per_answer),
            f"{number(1e6 * cost)} µs, of {number(1e6 * per_answer)} µs",
        ),
    )
    for claim, goal, reached, remark in claims:
        found.goals.append(Goal("ten", claim, goal, reached, least=goal == PEAK_SHARE, remark=remark))
    return found


def _rising(bench: Bench, server: Server, peak: float, bound: float, found: Findings) -> None:
    """Goodput over a load that rises to ten times the peak, refusing and degrading."""
    for name, kind, multiples in (("refusing", LISTS, TIMES), ("degrading", YIELDING_LISTS, (*TIMES, MOST))):
        points, evaluations = [], []
        for times in multiples:
            rate = times * peak
            summary = summarise(bench.offered(server, [Phase(rate, bench.seconds)], kind), bound=LATE * bound)
            load = f"{number(rate)} requests/s, {times:g} times the peak, {kind.name}"
            remark = f"degraded: {share(summary.degraded)}"
            found.lines.append(Line("ten", OURS.name, load, summary, remark))
            points.append((times, summary.goodput))
            evaluations.append((times, summary.nfe))
        found.curves[Panel.overload][name] = points
        if kind is YIELDING_LISTS:
            found.curves[Panel.evaluations][name] = evaluations


def _count(result: Result, *, answered: bool) -> int:
    """The requests of a whole load that were answered, or were not; at least 1."""
    return max(1, int(((result.status == OK) == answered).sum()))


def _error(result: Result) -> float:
    """The test error of all answers of a load."""
    return float((result.rows.digit != result.rows.label).mean()) if len(result.rows.digit) else float("nan")


def _strict_error(bench: Bench, result: Result) -> float:
    """The error of the undegraded solve on the images that a load had answered."""
    rows, artifact = result.rows, bench.artifact
    if artifact.profile is None or len(rows.image) == 0:
        return float("nan")
    bench.say("the same images without degradation")
    solver = SolverSettings.adaptive(artifact.profile.method_for(TIGHT), TIGHT)
    images, places = np.unique(rows.image, return_inverse=True)
    answer = classify(OnnxBackend(artifact.folder, [solver.method]), bench.digits.images[images], solver)
    return float((answer.digits[places] != rows.label).mean())
