"""Overload: the service loosens the tolerance if a request allows it, and otherwise refuses at once."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.serving.bench import OURS, Bench
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, number, ratio, share
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK, Answers, Integers, Result, Summary, median_of, summarise
from benchmarks.serving.servers import Server, ours
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings

TIGHT = 1e-5
STRICT = Kind("strict", f"tolerance={TIGHT:g}")
LISTS = Kind("strict, 8 images", f"tolerance={TIGHT:g}", images=8)
"""The requests of the scenario `ten`. With single images, the generator would take a third of the machine."""

YIELDING_LISTS = Kind("yielding, 8 images", f"tolerance={TIGHT:g}&allow_degraded=true", images=8)
YIELDING = Kind("yielding", f"tolerance={TIGHT:g}&allow_degraded=true")
CONNECTIONS = 64
PEAK_CONNECTIONS = 4
"""Connections of the closed loop that measures the peak of the scenario `ten`. The queues have room for all of its
requests: refused requests would come again at once, and lower the peak."""

MAX_ERROR_DIFFERENCE = 0.001
"""The largest allowed difference between the test errors of degraded and undegraded answers."""

LEAST_DEGRADED = 0.1
"""The smallest share of answers that twice the capacity degrades. With less, the load was no overload."""

QUEUE_SECONDS = 0.5
LATE = 2.0
"""The largest latency that counts as goodput, relative to the latency bound. Under overload, every admitted request
waits for about as long as the bound."""

PEAK_SHARE = 0.9
SHEDDING_SHARE = 0.1
MULTIPLES = (0.5, 1.0, 2.0, 5.0)
LARGEST_MULTIPLE = 10.0


class Errors(NamedTuple):
    """Test errors on the same images.

    Attributes:
        degraded: the error of the degraded answers.
        strict: the error of a strict solve.
    """

    degraded: float
    strict: float

    @property
    def difference(self) -> float:
        """How far apart the errors are."""
        return abs(self.degraded - self.strict)


def degraded_answers(result: Result, until: float) -> Answers:
    """The degraded answers to requests that arrived after the warm-up and before a time."""
    answers, due = result.answers, (result.scheduled >= result.since) & (result.scheduled < until)
    return answers.where(due[answers.request] & (answers.degraded == 1))


def errors(rounds: Sequence[Answers], solve: Callable[[Integers], Integers]) -> Errors:
    """The test errors of degraded answers, and of a strict solve of their images; NaN without answers.

    Args:
        rounds: the degraded answers of each round.
        solve: a function from the indices of images to their digits. It receives each index once.
    """
    image, digit, label = (
        np.concatenate([getattr(answers, name) for answers in rounds]) for name in ("image", "digit", "label")
    )
    if not len(image):
        return Errors(float("nan"), float("nan"))
    images, positions = np.unique(image, return_inverse=True)
    return Errors(float((digit != label).mean()), float((solve(images)[positions] != label).mean()))


def twice(bench: Bench) -> Findings:
    """Offer twice the capacity at the tight tolerance, with degradation allowed; then half of the capacity."""
    found, overloaded, recovering, recovered = Findings(), list[Summary](), list[Summary](), list[Summary]()
    loosened = list[Answers]()
    with bench.servers(OURS) as (server,):
        for seed in range(bench.rounds):
            capacity = bench.capacity(server, CONNECTIONS, STRICT)  # in each round: the speed of a machine varies
            phases = [Phase(2 * capacity, bench.seconds), Phase(capacity / 2, bench.seconds)]
            result = bench.offered(server, phases, YIELDING, seed=seed)
            fall, half = result.until - bench.seconds, result.until - bench.seconds / 2
            overloaded.append(summarise(result, until=fall))
            loosened.append(degraded_answers(result, fall))
            recovering.append(summarise(result, since=fall, until=half))
            recovered.append(summarise(result, since=half))
    for load, summaries in (
        (f"{number(2 * capacity)} requests/s, twice the capacity", overloaded),
        (f"then {number(capacity / 2)} requests/s, first half", recovering),
        ("second half", recovered),
    ):
        summary = median_of(summaries)
        found.measurements.append(
            Measurement("twice", OURS.name, load, summary, f"degraded: {share(summary.degraded)}")
        )
    degraded = median_of(overloaded)
    error = errors(loosened, lambda images: _strict_digits(bench, images))
    remark = f"{share(error.degraded)}; without degradation, {share(error.strict)} on the same images"
    found.goals += [
        Goal("twice", "share degraded at twice the capacity", LEAST_DEGRADED, degraded.degraded, is_minimum=True),
        Goal("twice", "share refused", 0.0, degraded.refused, is_minimum=False),
        Goal(
            "twice", "difference in test error", MAX_ERROR_DIFFERENCE, error.difference, is_minimum=False, remark=remark
        ),
        Goal("twice", "share degraded after the load has fallen", 0.0, median_of(recovered).degraded, is_minimum=False),
    ]
    return found


def ten(bench: Bench) -> Findings:
    """Offer ten times the capacity without degradation. Most requests are refused, so a refusal must be cheap."""
    found, floods, costs = Findings(), list[Summary](), list[float]()
    with bench.servers(ours("--queue-seconds", str(QUEUE_SECONDS))) as (server,):
        alone = summarise(bench.closed(server, 1, LISTS)).p50
        before = _processor_seconds(server)
        closed = bench.closed(server, PEAK_CONNECTIONS, LISTS)
        per_answer = (_processor_seconds(server) - before) / _count(closed, answered=True)
        peak = summarise(closed)
        rate = max(1.0, peak.throughput / LISTS.images)
        bound = 1e3 * QUEUE_SECONDS + alone
        for seed in range(bench.rounds):
            before = _processor_seconds(server)
            result = bench.offered(server, [Phase(LARGEST_MULTIPLE * rate, bench.seconds)], LISTS, seed=seed)
            on_refusals = _processor_seconds(server) - before - per_answer * _count(result, answered=True)
            costs.append(on_refusals / _count(result, answered=False))
            floods.append(summarise(result, bound=LATE * bound))
        _rising(bench, server, rate, bound, found)
    flood, cost = median_of(floods), float(np.median(costs))
    generator = f"the load generator takes {number(result.cpu_microseconds_per_request)} µs per request"
    remark = f"refused: p50 {number(flood.refused_p50)} ms, p99 {number(flood.refused_p99)} ms; {generator}"
    found.measurements += [
        Measurement("ten", OURS.name, f"{PEAK_CONNECTIONS} connections, {LISTS.name}", peak),
        Measurement(
            "ten",
            OURS.name,
            f"{number(LARGEST_MULTIPLE * rate)} requests/s, ten times the peak, {LISTS.name}",
            flood,
            remark,
        ),
    ]
    found.curves[Panel.overload]["refusing"].append((LARGEST_MULTIPLE, flood.goodput))
    claims = (
        (
            "goodput relative to the peak",
            PEAK_SHARE,
            flood.goodput / peak.throughput,
            f"the peak: {number(peak.throughput)} images/s",
        ),
        (
            "p99 of admitted requests, ms",
            bound,
            flood.p99,
            f"a queue of {QUEUE_SECONDS:g} s, plus {number(alone)} ms alone",
        ),
        (
            "processor time of a refusal relative to an answer",
            SHEDDING_SHARE,
            ratio(cost, per_answer),
            f"{number(1e6 * cost)} µs against {number(1e6 * per_answer)} µs",
        ),
    )
    for claim, goal, reached, remark in claims:
        found.goals.append(Goal("ten", claim, goal, reached, is_minimum=goal == PEAK_SHARE, remark=remark))
    return found


def _rising(bench: Bench, server: Server, peak: float, bound: float, found: Findings) -> None:
    """Measure the goodput up to ten times the peak, without and with degradation."""
    for name, kind, multiples in (
        ("refusing", LISTS, MULTIPLES),
        ("degrading", YIELDING_LISTS, (*MULTIPLES, LARGEST_MULTIPLE)),
    ):
        points, evaluations = [], []
        for multiple in multiples:
            rate = multiple * peak
            summary = summarise(bench.offered(server, [Phase(rate, bench.seconds)], kind), bound=LATE * bound)
            load = f"{number(rate)} requests/s, {multiple:g} times the peak, {kind.name}"
            remark = f"degraded: {share(summary.degraded)}"
            found.measurements.append(Measurement("ten", OURS.name, load, summary, remark))
            points.append((multiple, summary.goodput))
            evaluations.append((multiple, summary.nfe))
        found.curves[Panel.overload][name] = points
        if kind is YIELDING_LISTS:
            found.curves[Panel.evaluations][name] = evaluations


def _processor_seconds(server: Server) -> float:
    return sum(server.processor_seconds().values())


def _count(result: Result, *, answered: bool) -> int:
    """The number of answered or of unanswered requests of a whole load; at least 1."""
    return max(1, int(((result.status == OK) == answered).sum()))


def _strict_digits(bench: Bench, images: Integers) -> Integers:
    """The digits of some images of the test set by the undegraded solve."""
    artifact = bench.artifact
    if artifact.profile is None:
        raise ValueError("without a profile, no method is known for the tolerance")
    bench.report("the same images without degradation")
    solver = SolverSettings.adaptive(artifact.profile.method_for(TIGHT), TIGHT)
    return classify(OnnxBackend(artifact.folder, [solver.method]), bench.digits.images[images], solver).digits
