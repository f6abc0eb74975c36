"""The findings of the scenarios, as Markdown."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.serving.results import REFUSED, Summary
from benchmarks.serving.threads import Role

HEADINGS = (
    "scenario", "server", "load", "images/s", "p50, ms", "p99, ms", "p99.9, ms", "processor, µs", "refused",
    "other errors", "NFE", "test error", "",
)  # fmt: skip
NOTHING = "-"


@dataclass(frozen=True)
class Measurement:
    """A line of the table of measurements.

    Attributes:
        scenario: the name of the scenario.
        server: the name of the server.
        load: the description of the load.
        summary: the result.
        remark: additional information.
        processor: the processor time of the server in microseconds per request; NaN if it was not measured.
    """

    scenario: str
    server: str
    load: str
    summary: Summary
    remark: str = ""
    processor: float = math.nan


@dataclass(frozen=True)
class ProcessorTime:
    """A line of the table of processor time. Times are in microseconds per request.

    Attributes:
        scenario: the name of the scenario.
        server: the name of the server.
        load: the description of the load.
        by_role: the processor time of all processes of the server, by the role of the thread.
        kernels: the part that the kernels take when they run alone; 0 for a server without kernels.
        floor: the processor time of a plain FastAPI route under the same load.
    """

    scenario: str
    server: str
    load: str
    by_role: dict[Role, float]
    kernels: float
    floor: float

    @property
    def all(self) -> float:
        """The processor time of all threads."""
        return sum(self.by_role.values())

    @property
    def rest(self) -> float:
        """The processor time of all threads without the time of the kernels."""
        return self.all - self.kernels


@dataclass(frozen=True)
class Ratio:
    """The service relative to a peer: the medians over the rounds.

    Attributes:
        peer: the name of the peer.
        load: the description of the load.
        throughput: images per second of the service, divided by the peer's.
        p50: the median latency of the service, divided by the peer's.
    """

    peer: str
    load: str
    throughput: float
    p50: float


@dataclass(frozen=True)
class Goal:
    """A goal, and the measured value.

    Attributes:
        scenario: the name of the scenario.
        claim: the quantity that the goal is about.
        bound: the limit of the quantity.
        reached: the measured value.
        is_minimum: whether the bound is the smallest allowed value; otherwise it is the largest.
        remark: additional information about the bound and the measured value.
    """

    scenario: str
    claim: str
    bound: float
    reached: float
    is_minimum: bool
    remark: str = ""

    @property
    def met(self) -> bool:
        """Whether the goal is met. A goal that could not be measured is not met."""
        return self.reached >= self.bound if self.is_minimum else self.reached <= self.bound


class Panel(StrEnum):
    """The title of a panel of the figure."""

    throughput = "saturated: 32 connections"
    latency = "p99 against offered load"
    mixed = "p99 of loose requests in a mix"
    overload = "overload at tolerance 1e-5"
    evaluations = "evaluations of degraded answers"


@dataclass
class Findings:
    """The findings of scenarios.

    Attributes:
        measurements: the lines of the table of measurements.
        processor_times: the lines of the table of processor time.
        goals: the lines of the table of goals.
        ratios: the service relative to its peers.
        bars: for each panel with bars, the length of each bar by name.
        limits: for each panel with bars, the position of each reference line by name.
        curves: for each panel with curves, the points of each curve by name.
    """

    measurements: list[Measurement] = field(default_factory=list)
    processor_times: list[ProcessorTime] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    bars: dict[Panel, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    limits: dict[Panel, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    curves: dict[Panel, dict[str, list[tuple[float, float]]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, other: "Findings") -> None:
        """Add the findings of another scenario."""
        self.measurements.extend(other.measurements)
        self.processor_times.extend(other.processor_times)
        self.goals.extend(other.goals)
        self.ratios.extend(other.ratios)
        for mine, theirs in ((self.bars, other.bars), (self.limits, other.limits)):
            for panel, values in theirs.items():
                mine[panel].update(values)
        for panel, curves in other.curves.items():
            self.curves[panel].update(curves)


def measurement_table(measurements: Iterable[Measurement]) -> str:
    """The measurements as a Markdown table."""
    return _table(HEADINGS, map(_cells, measurements))


def processor_table(times: Iterable[ProcessorTime]) -> str:
    """The processor time of a request as a Markdown table."""
    headings = ("scenario", "server", "load", *Role, "all", "kernels", "all - kernels", "relative to FastAPI")
    rows = (
        (
            each.scenario,
            each.server,
            each.load,
            *(number(each.by_role[role]) for role in Role),
            number(each.all),
            number(each.kernels),
            number(each.rest),
            number(ratio(each.rest, each.floor)),
        )
        for each in times
    )
    return _table(headings, rows)


def goal_table(goals: Iterable[Goal]) -> str:
    """The goals as a Markdown table."""
    rows = (
        (
            goal.scenario,
            goal.claim,
            f"{'≥' if goal.is_minimum else '≤'} {number(goal.bound)}",
            number(goal.reached),
            number(ratio(goal.reached, goal.bound)),
            "met" if goal.met else "missed",
            goal.remark,
        )
        for goal in goals
    )
    return _table(("scenario", "goal", "bound", "reached", "ratio", "", ""), rows)


def ratio_table(ratios: Iterable[Ratio]) -> str:
    """The ratios of the service and its peers as a Markdown table."""
    rows = ((each.peer, each.load, number(each.throughput), number(each.p50)) for each in ratios)
    return _table(("peer", "load", "images/s, service / peer", "p50, service / peer"), rows)


def number(value: float) -> str:
    """A number with three significant digits, or with all digits before the decimal point."""
    if math.isnan(value):
        return NOTHING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(value: float, reference: float) -> float:
    """One number divided by another; NaN if the other is 0."""
    return value / reference if reference else math.nan


def share(value: float) -> str:
    """A share as a percentage."""
    return NOTHING if math.isnan(value) else f"{value:.2%}"


def _cells(line: Measurement) -> Sequence[str]:
    summary = line.summary
    others = ", ".join(f"{status}: {count}" for status, count in summary.failed.items() if status != str(REFUSED))
    error = f"{share(summary.test_error)} of {summary.rows:,}" if summary.rows else NOTHING
    speed = map(number, (summary.throughput, summary.p50, summary.p99, summary.p999, line.processor))
    rest = (share(summary.refused), others or "0", number(summary.nfe), error, line.remark)
    return (line.scenario, line.server, line.load, *speed, *rest)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))
    return "\n".join(lines)
