"""Counters, gauges and histograms: plain numbers that become metrics of Prometheus when they are read."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.utils import floatToGoString

from service.telemetry.numbers import Numbers, Series, SharedNumbers

Kind = TypeVar("Kind")

Merged = dict[tuple[str, ...], list[float]]
"""The numbers of all processes together, by the values of the labels."""


Across = Callable[[tuple[float, float]], float]
"""Combines the numbers of two processes: `sum` or `max`."""


class Value:
    """The number of a counter or a gauge."""

    __slots__ = ("_numbers",)

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def add(self, amount: float = 1) -> None:
        """Add an amount."""
        self._numbers[0] += amount

    def set(self, value: float) -> None:
        """Set the number."""
        self._numbers[0] = value


class Distribution:
    """The numbers of a histogram: the sum of what was observed, and how many values fell into each bucket."""

    __slots__ = ("_buckets", "_numbers")

    def __init__(self, numbers: Numbers, buckets: Sequence[float]) -> None:
        self._numbers = numbers
        self._buckets = buckets

    def observe(self, value: float) -> None:
        """Count a value."""
        numbers = self._numbers
        numbers[0] += value
        numbers[1 + bisect_left(self._buckets, value)] += 1

    @property
    def count(self) -> int:
        """The number of values."""
        return int(sum(self._numbers[1:]))


class Instrument(ABC, Generic[Kind]):
    """A metric with labels. For each combination of labels, the metric has separate numbers.

    Args:
        numbers: hold the numbers.
        name: the name, without the suffix of a counter.
        text: what the metric measures.
        labels: the names of the labels; without labels, the metric is 0 before the first event.
    """

    def __init__(self, numbers: SharedNumbers, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self._numbers = numbers
        self._children: dict[tuple[str, ...], Kind] = {}
        if not labels:
            self.of()

    def of(self, *labels: str) -> Kind:
        """The numbers for a combination of labels. A new combination is reported as 0 from now on."""
        if labels not in self._children:
            self._children[labels] = self._make(labels)
        return self._children[labels]

    def children(self) -> Iterable[tuple[tuple[str, ...], Kind]]:
        """The numbers of this process for each combination of labels."""
        return self._children.items()

    def merge(self, merged: Merged, series: Series) -> None:
        """Add the numbers of a process to those of the others."""
        present = merged.setdefault(series.labels, [0.0] * len(series.numbers))
        present[:] = map(sum, zip(present, series.numbers, strict=True))

    @abstractmethod
    def family(self, merged: Merged) -> Metric:
        """The metric in the form of prometheus_client."""

    @abstractmethod
    def _make(self, labels: tuple[str, ...]) -> Kind: ...


class SingleNumber(Instrument[Value]):
    """A metric with one number for each combination of labels."""

    family_type: type[CounterMetricFamily | GaugeMetricFamily]

    def family(self, merged: Merged) -> Metric:
        """The metric in the form of prometheus_client."""
        family = self.family_type(self.name, self.text, labels=self.labels)
        for labels, (value,) in merged.items():
            family.add_metric(labels, value)
        return family

    def _make(self, labels: tuple[str, ...]) -> Value:
        return Value(self._numbers.add(self.name, labels, 1))


class Counter(SingleNumber):
    """A number that only grows."""

    family_type = CounterMetricFamily


class Gauge(SingleNumber):
    """A number that rises and falls.

    Args:
        numbers: hold the numbers.
        name: the name.
        text: what the metric measures.
        labels: the names of the labels.
        across: combines the numbers of the processes. A process that has died counts only for `max`.
    """

    family_type = GaugeMetricFamily

    def __init__(
        self,
        numbers: SharedNumbers,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        across: Across = sum,
    ) -> None:
        self._across = across
        super().__init__(numbers, name, text, labels)

    def merge(self, merged: Merged, series: Series) -> None:
        """Combine the number of a process with those of the others."""
        if series.live or self._across is max:
            present = merged.setdefault(series.labels, [0.0])
            present[0] = self._across((present[0], series.numbers[0]))


class Histogram(Instrument[Distribution]):
    """How the observed values are distributed.

    Args:
        numbers: hold the numbers.
        name: the name.
        text: what the metric measures.
        labels: the names of the labels.
        buckets: the upper bounds of the buckets, in ascending order; a bucket without a bound follows.
    """

    def __init__(
        self, numbers: SharedNumbers, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]
    ) -> None:
        self.buckets = tuple(buckets)
        super().__init__(numbers, name, text, labels)

    def family(self, merged: Merged) -> Metric:
        """The metric in the form of prometheus_client."""
        family = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        bounds = [floatToGoString(bound) for bound in (*self.buckets, float("inf"))]  # type: ignore[no-untyped-call]
        for labels, (total, *counts) in merged.items():
            family.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return family

    def _make(self, labels: tuple[str, ...]) -> Distribution:
        return Distribution(self._numbers.add(self.name, labels, len(self.buckets) + 2), self.buckets)
