"""Queries of Prometheus: the series that exist, and the selectors of a query."""

from typing import Any

from promql_parser import Expr, VectorSelector, parse, walk

from service.telemetry.instruments import Counter, Gauge, Histogram, Instrument
from service.telemetry.metrics import Metrics

Labels = frozenset[str]


def metrics(*kinds: type[Instrument[Any]]) -> dict[str, Labels]:
    """The service's metrics of some kinds, with the labels of each."""
    metrics = [each for each in Metrics().instruments.values() if isinstance(each, kinds)]
    return {f"{each.name}{'_total' if isinstance(each, Counter) else ''}": frozenset(each.labels) for each in metrics}


HISTOGRAMS = metrics(Histogram)
COUNTERS_AND_GAUGES = metrics(Counter, Gauge)

TARGET = ("job", "instance")  # the labels that Prometheus adds to every series of a target
SERIES: dict[str, Labels] = {
    **{name: frozenset((*labels, *TARGET)) for name, labels in COUNTERS_AND_GAUGES.items()},
    **{
        f"{name}_{part}": frozenset((*labels, *TARGET))
        for name, labels in HISTOGRAMS.items()
        for part in ("sum", "count")
    },
    **{f"{name}_bucket": frozenset((*labels, *TARGET, "le")) for name, labels in HISTOGRAMS.items()},
    "up": frozenset(TARGET),
    "ALERTS": frozenset(("alertname", "alertstate", "severity")),
}


def selectors(expression: str) -> list[VectorSelector]:
    """The selectors of series in an expression."""
    found: list[VectorSelector] = []

    def visit(node: Expr) -> None:
        if isinstance(node, VectorSelector):
            found.append(node)

    walk(parse(expression), visit)
    return found
