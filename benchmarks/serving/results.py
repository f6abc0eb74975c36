"""What came of a load: every request and every answered image, and what they amount to."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.serving.questions import Kind

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

OK, REFUSED = 200, 429
BROKEN, UNANSWERED, MALFORMED = -1, -2, -3
"""In place of a status: the connection broke, no answer came in time, an answer that cannot be read."""

REASONS = {BROKEN: "broken", UNANSWERED: "unanswered", MALFORMED: "malformed"}


class Rows(NamedTuple):
    """The answered images, a column each.

    Attributes:
        request: the number of the request.
        image: its number in the test set.
        digit: the answer.
        label: the truth.
        nfe: function evaluations; not a number where the answer says none, as in the two that follow.
        rtol: the relative tolerance.
        degraded: 1 for an answer at a looser tolerance than was asked for.
    """

    request: Integers
    image: Integers
    digit: Integers
    label: Integers
    nfe: Floats
    rtol: Floats
    degraded: Floats

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Rows":
        """Some of them."""
        return Rows(*(column[chosen] for column in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Result:
    """A load that has ended; times are in seconds from its beginning.

    Attributes:
        kinds: of request.
        kind: of each request, its number.
        scheduled: when each was due; its latency counts from there.
        sent: when it was written to a connection; not a number for one that never was.
        finished: when its answer was there, or it was given up.
        status: of its answer, or what stands in its place.
        rows: the answered images.
        since: the end of the warm-up.
        until: the end of the arrivals.
        cpu_seconds: of the generator.
        began: the beginning, by `time.perf_counter`, which on Linux all processes share.
    """

    kinds: tuple[Kind, ...]
    kind: Integers
    scheduled: Floats
    sent: Floats
    finished: Floats
    status: Integers
    rows: Rows
    since: float
    until: float
    cpu_seconds: float
    began: float = 0.0

    @property
    def cpu_microseconds_per_request(self) -> float:
        """What the generator itself costs."""
        return 1e6 * self.cpu_seconds / max(1, len(self.status))


@dataclass(frozen=True)
class Summary:
    """What the requests of a window amount to; not a number where there is nothing to tell.

    Attributes:
        requests: how many were due.
        throughput: images answered a second.
        goodput: of them, those within the bound that was asked for.
        p50: milliseconds from when a request was due to its answer, median over those answered.
        p99: the 99th percentile of the same.
        p999: the 99.9th.
        refused_p50: the median of those refused with 429.
        refused_p99: their 99th percentile.
        lag_p99: milliseconds from when a request was due until it was sent, 99th percentile over all; in a closed loop
            what the generator itself takes, in an open one also the wait for a connection.
        failed: requests by status that were not answered with 200.
        nfe: mean of function evaluations an image.
        rtol: median of the relative tolerances.
        degraded: the share of images answered at a looser tolerance.
        rows: images answered.
        wrong: how many of them are not their label.
    """

    requests: int
    throughput: float
    goodput: float
    p50: float
    p99: float
    p999: float
    refused_p50: float
    refused_p99: float
    lag_p99: float
    failed: Counter[str]
    nfe: float
    rtol: float
    degraded: float
    rows: int
    wrong: int

    @property
    def error_rate(self) -> float:
        """The share of requests that were not answered with 200."""
        return self.failed.total() / self.requests if self.requests else float("nan")

    @property
    def refused(self) -> float:
        """The share of requests refused with 429."""
        return self.failed[str(REFUSED)] / self.requests if self.requests else float("nan")

    @property
    def test_error(self) -> float:
        """The share of the answered images that are wrong."""
        return self.wrong / self.rows if self.rows else float("nan")


def summarise(
    result: Result,
    kind: str | None = None,
    *,
    since: float | None = None,
    until: float | None = None,
    bound: float | None = None,
) -> Summary:
    """Sum up a window of a load: latencies are of requests due in it, throughput is of answers that came in it.

    Args:
        result: of the load.
        kind: only this one.
        since: the window's beginning in seconds.  Default: the end of the warm-up.
        until: its end.  Default: the end of the arrivals.
        bound: milliseconds within which an answer counts as good.  Default: any.
    """
    since, until = result.since if since is None else since, result.until if until is None else until
    names = np.array([each.name for each in result.kinds])
    chosen = np.full(len(result.kind), True) if kind is None else names[result.kind] == kind
    due = chosen & (result.scheduled >= since) & (result.scheduled < until)
    ok = result.status == OK
    latency = 1e3 * (result.finished - result.scheduled)
    came = chosen & ok & (result.finished >= since) & (result.finished < until)
    images = np.array([each.images for each in result.kinds])[result.kind]
    good = came & (latency <= (np.inf if bound is None else bound))
    rows = result.rows.where(due[result.rows.request])
    statuses = Counter(result.status[due & ~ok].tolist())
    p50, p99, p999 = percentiles(latency[due & ok], 50, 99, 99.9)
    refused_p50, refused_p99 = percentiles(latency[due & (result.status == REFUSED)], 50, 99)
    lag = 1e3 * (result.sent - result.scheduled)[due]
    return Summary(
        requests=int(due.sum()),
        throughput=float(images[came].sum()) / (until - since),
        goodput=float(images[good].sum()) / (until - since),
        p50=p50,
        p99=p99,
        p999=p999,
        refused_p50=refused_p50,
        refused_p99=refused_p99,
        lag_p99=percentiles(lag[~np.isnan(lag)], 99)[0],
        failed=Counter({REASONS.get(status, str(status)): count for status, count in statuses.items()}),
        nfe=_mean(rows.nfe),
        rtol=_median(rows.rtol),
        degraded=_mean(rows.degraded),
        rows=len(rows.digit),
        wrong=int((rows.digit != rows.label).sum()),
    )


def middle(summaries: Sequence[Summary]) -> Summary:
    """Of several repetitions: what is counted is added up, and of everything else the median taken."""
    values: dict[str, Any] = {}
    for field in fields(Summary):
        column = [getattr(summary, field.name) for summary in summaries]
        counted = field.type in {int, "int"}
        values[field.name] = sum(column) if counted else None if field.name == "failed" else _median(np.array(column))
    values["failed"] = sum((summary.failed for summary in summaries), Counter())
    return Summary(**values)


def paired(mine: Sequence[Result], theirs: Sequence[Result]) -> tuple[float, float, int]:
    """The test errors of two servers on the images that both have answered, and how many these are."""
    wrong = [
        {image: digit != label for result in results for _, image, digit, label, *_ in zip(*result.rows, strict=True)}
        for results in (mine, theirs)
    ]
    both = wrong[0].keys() & wrong[1].keys()
    first, second = (_mean(np.array([each[image] for image in both], np.float64)) for each in wrong)
    return first, second, len(both)


def percentiles(values: Floats, *ranks: float) -> list[float]:
    """The percentiles of some values; not a number where there are none."""
    return [float(np.percentile(values, rank)) if len(values) else float("nan") for rank in ranks]


def read_rows(bodies: list[bytes], status: Integers, asked: list[Integers], labels: Integers) -> Rows:
    """Read the answers.

    Args:
        bodies: of the answers to all requests.
        status: of the same; that of an answer that cannot be read is set to `MALFORMED`.
        asked: the numbers of the images of each request.
        labels: of the test set.
    """
    rows: list[tuple[float, ...]] = []
    for request in np.flatnonzero(status == OK).tolist():
        try:
            told = [_read_row(prediction) for prediction in json.loads(bodies[request])["predictions"]]
            read = [(request, image, *row) for image, row in zip(asked[request].tolist(), told, strict=True)]
        except (ValueError, LookupError, TypeError, AttributeError):
            status[request] = MALFORMED
            continue
        rows.extend(read)
    columns = np.array(rows, np.float64).reshape(-1, 6).T
    request_numbers, images, digits = (column.astype(np.int64) for column in columns[:3])
    return Rows(request_numbers, images, digits, labels[images], *columns[3:])


def _read_row(prediction: dict[str, Any]) -> tuple[float, float, float, float]:
    """Digit, evaluations, tolerance and whether it was degraded."""
    solver = prediction.get("solver") or {}
    nothing = float("nan")
    nfe, rtol, degraded = (solver.get(name) for name in ("nfe", "rtol", "degraded"))
    told = (nothing if value is None else float(value) for value in (nfe, rtol, degraded))
    return int(prediction["digit"]), *told  # type: ignore[return-value]


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")
