"""What the scenarios have found, as Markdown."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.serving.results import REFUSED, Summary

HEADINGS = (
    "scenario", "server", "load", "images/s", "p50, ms", "p99, ms", "p99.9, ms", "refused", "other errors", "NFE",
    "test error", "",
)  # fmt: skip
NOTHING = "-"


@dataclass(frozen=True)
class Line:
    """A measurement.

    Attributes:
        scenario: which.
        server: who was asked.
        load: how, and for what.
        summary: what came of it.
        remark: whatever else there is to say.
    """

    scenario: str
    server: str
    load: str
    summary: Summary
    remark: str = ""


@dataclass(frozen=True)
class Goal:
    """A goal, and how far it is reached.

    Attributes:
        scenario: which.
        claim: what is to be.
        bound: the value to reach.
        reached: the value measured.
        least: whether the bound is the least, and not the most, that it may be.
        remark: how the two come about.
    """

    scenario: str
    claim: str
    bound: float
    reached: float
    least: bool
    remark: str = ""

    @property
    def met(self) -> bool:
        """Whether it is reached; what could not be measured is not."""
        return self.reached >= self.bound if self.least else self.reached <= self.bound


class Panel(StrEnum):
    """A panel of the figure, by its title."""

    throughput = "saturated: 32 connections"
    latency = "p99 against offered load"
    mixed = "p99 of the loose, in a mix"
    overload = "overload at tolerance 1e-5"
    evaluations = "evaluations of the degraded"


@dataclass
class Findings:
    """What scenarios have found.

    Attributes:
        lines: the measurements.
        goals: the goals.
        bars: of the panels that compare, by name.
        limits: horizontal lines in them, by name.
        curves: of the other panels, points by name.
    """

    lines: list[Line] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    bars: dict[Panel, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    limits: dict[Panel, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    curves: dict[Panel, dict[str, list[tuple[float, float]]]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, other: "Findings") -> None:
        """Take in what another scenario has found."""
        self.lines.extend(other.lines)
        self.goals.extend(other.goals)
        for mine, theirs in ((self.bars, other.bars), (self.limits, other.limits)):
            for panel, values in theirs.items():
                mine[panel].update(values)
        for panel, curves in other.curves.items():
            self.curves[panel].update(curves)


def measurements(lines: Iterable[Line]) -> str:
    """The measurements as a table."""
    return _table(HEADINGS, (_cells(line) for line in lines))


def goals(of: Iterable[Goal]) -> str:
    """The goals as a table."""
    rows = (
        (
            goal.scenario,
            goal.claim,
            f"{'≥' if goal.least else '≤'} {number(goal.bound)}",
            number(goal.reached),
            number(ratio(goal.reached, goal.bound)),
            "met" if goal.met else "missed",
            goal.remark,
        )
        for goal in of
    )
    return _table(("scenario", "goal", "bound", "reached", "ratio", "", ""), rows)


def number(value: float) -> str:
    """A number in three or four digits."""
    if math.isnan(value):
        return NOTHING
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def ratio(value: float, of: float) -> float:
    """One number in terms of another; not a number where that is nothing."""
    return value / of if of else math.nan


def share(value: float) -> str:
    """A share in per cent."""
    return NOTHING if math.isnan(value) else f"{value:.2%}"


def _cells(line: Line) -> Sequence[str]:
    told = line.summary
    others = ", ".join(f"{status}: {count}" for status, count in told.failed.items() if status != str(REFUSED))
    error = f"{share(told.test_error)} of {told.rows:,}"
    times = (number(value) for value in (told.throughput, told.p50, told.p99, told.p999))
    refused = share(told.refused)
    return (line.scenario, line.server, line.load, *times, refused, others or "0", number(told.nfe), error, line.remark)


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (f"| {' | '.join(cells)} |" for cells in (headings, ["---"] * len(headings), *rows))
    return "\n".join(lines)
