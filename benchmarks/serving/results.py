"""The result of a load: every request and every answered image, and their summary."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.serving.forms import Row
from benchmarks.serving.requests import Kind

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

OK, REFUSED = 200, 429
BROKEN, UNANSWERED, MALFORMED = -1, -2, -3
"""Values in place of a status: the connection broke, no answer came in time, or the answer cannot be parsed."""

REASONS = {BROKEN: "broken", UNANSWERED: "unanswered", MALFORMED: "malformed"}


class Answers(NamedTuple):
    """The answered images. Each attribute is a column with one entry per image.

    Attributes:
        request: the number of the request.
        image: the index of the image in the test set.
        digit: the answer.
        label: the true digit.
        nfe: function evaluations; NaN if the answer does not have them.
        rtol: the relative tolerance; NaN if the answer does not have it.
        degraded: 1 for an answer at a looser tolerance than requested, otherwise 0; NaN if the
            answer does not say.
    """

    request: Integers
    image: Integers
    digit: Integers
    label: Integers
    nfe: Floats
    rtol: Floats
    degraded: Floats

    def where(self, chosen: npt.NDArray[np.bool_]) -> "Answers":
        """The answers that a mask selects."""
        return Answers(*(column[chosen] for column in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Result:
    """The result of a load. Times are in seconds from its start.

    Attributes:
        kinds: the kinds of request.
        kind: the index of the kind of each request.
        scheduled: when each request arrived; its latency counts from this time.
        sent: when each request was written to a connection; NaN if it never was.
        finished: when the answer to each request was complete, or the generator stopped waiting for it.
        status: the status of each answer, or `BROKEN`, `UNANSWERED` or `MALFORMED`.
        answers: the answered images.
        since: the end of the warm-up.
        until: the end of the arrivals.
        cpu_seconds: processor time of the generator.
        began: the start by `time.perf_counter`, which all processes share on Linux.
    """

    kinds: tuple[Kind, ...]
    kind: Integers
    scheduled: Floats
    sent: Floats
    finished: Floats
    status: Integers
    answers: Answers
    since: float
    until: float
    cpu_seconds: float
    began: float = 0.0

    @property
    def answered(self) -> int:
        """The number of requests answered with 200 during the whole load, at least 1."""
        return max(1, int((self.status == OK).sum()))

    @property
    def rate(self) -> float:
        """The requests answered with 200 per second, from the start to the last answer; 0 without answers.

        The throughput of `summarise` counts the answers in a window. In a closed loop, large lists are answered many at
        a time, so a window may count some of them too few or too many.
        """
        answered = self.finished[self.status == OK]
        return len(answered) / float(answered.max()) if len(answered) else 0.0

    @property
    def cpu_microseconds_per_request(self) -> float:
        """The processor time of the generator itself."""
        return 1e6 * self.cpu_seconds / max(1, len(self.status))


@dataclass(frozen=True)
class Summary:
    """A summary of the requests in a window of time. A value without data is NaN.

    Attributes:
        requests: the number of requests that arrived.
        throughput: answered images per second.
        goodput: images per second that were answered within the latency bound.
        p50: median latency of the answered requests, in milliseconds.
        p99: the 99th percentile of the latency, in milliseconds.
        p999: the 99.9th percentile of the latency, in milliseconds.
        refused_p50: median latency of the requests refused with 429, in milliseconds.
        refused_p99: the 99th percentile of the latency of these requests.
        failed: the number of requests by status that were not answered with 200.
        nfe: mean function evaluations per image.
        rtol: median relative tolerance.
        degraded: the share of images answered at a looser tolerance than requested.
        rows: the number of answered images.
        wrong: the number of answered images whose digit is wrong.
    """

    requests: int
    throughput: float
    goodput: float
    p50: float
    p99: float
    p999: float
    refused_p50: float
    refused_p99: float
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
    """Summarise a window of a load.

    Latencies are those of requests that arrive in the window. The throughput counts answers that are complete in
    the window.

    Args:
        result: the result of the load.
        kind: the name of the only kind to count.  Default: all kinds.
        since: the start of the window in seconds.  Default: the end of the warm-up.
        until: the end of the window in seconds.  Default: the end of the arrivals.
        bound: the largest latency in milliseconds that counts for the goodput.  Default: no limit.
    """
    since, until = result.since if since is None else since, result.until if until is None else until
    names = np.array([each.name for each in result.kinds])
    chosen = np.full(len(result.kind), True) if kind is None else names[result.kind] == kind
    due = chosen & (result.scheduled >= since) & (result.scheduled < until)
    ok = result.status == OK
    latency = 1e3 * (result.finished - result.scheduled)
    answered = chosen & ok & (result.finished >= since) & (result.finished < until)
    images = np.array([each.images for each in result.kinds])[result.kind]
    good = answered & (latency <= (np.inf if bound is None else bound))
    answers = result.answers.where(due[result.answers.request])
    statuses = Counter(result.status[due & ~ok].tolist())
    p50, p99, p999 = percentiles(latency[due & ok], 50, 99, 99.9)
    refused_p50, refused_p99 = percentiles(latency[due & (result.status == REFUSED)], 50, 99)
    return Summary(
        requests=int(due.sum()),
        throughput=float(images[answered].sum()) / (until - since),
        goodput=float(images[good].sum()) / (until - since),
        p50=p50,
        p99=p99,
        p999=p999,
        refused_p50=refused_p50,
        refused_p99=refused_p99,
        failed=Counter({REASONS.get(status, str(status)): count for status, count in statuses.items()}),
        nfe=_mean(answers.nfe),
        rtol=_median(answers.rtol),
        degraded=_mean(answers.degraded),
        rows=len(answers.digit),
        wrong=int((answers.digit != answers.label).sum()),
    )


def median_of(summaries: Sequence[Summary]) -> Summary:
    """Combine several repetitions: the sum of each count, and the median of every other value."""
    values: dict[str, Any] = {}
    for field in fields(Summary):
        column = [getattr(summary, field.name) for summary in summaries]
        counted = field.type in {int, "int"}
        values[field.name] = sum(column) if counted else None if field.name == "failed" else _median(np.array(column))
    values["failed"] = sum((summary.failed for summary in summaries), Counter())
    return Summary(**values)


def percentiles(values: Floats, *ranks: float) -> list[float]:
    """The percentiles of some values; NaN if there are no values."""
    return [float(np.percentile(values, rank)) if len(values) else float("nan") for rank in ranks]


def read_answers(
    readers: Sequence[Callable[[bytes], list[Row]] | None],
    bodies: list[bytes],
    status: Integers,
    image_indices: list[Integers],
    labels: Integers,
) -> Answers:
    """Parse the answers.

    Args:
        readers: reads the answer to each request; None for an answer that has nothing to read.
        bodies: the body of each answer.
        status: the status of each answer. The status of an answer that cannot be parsed is set to `MALFORMED`.
        image_indices: the indices in the test set of the images of each request.
        labels: the labels of the test set.
    """
    rows: list[tuple[float, ...]] = []
    for request in np.flatnonzero(status == OK).tolist():
        if (reader := readers[request]) is None:
            continue
        try:
            read = reader(bodies[request])
            rows += [(request, image, *row) for image, row in zip(image_indices[request].tolist(), read, strict=True)]
        except (ValueError, LookupError, TypeError, AttributeError):
            status[request] = MALFORMED
    columns = np.array(rows, np.float64).reshape(-1, 6).T
    request_numbers, images, digits = (column.astype(np.int64) for column in columns[:3])
    return Answers(request_numbers, images, digits, labels[images], *columns[3:])


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def _median(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")
