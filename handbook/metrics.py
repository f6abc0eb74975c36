"""The reference page of the metrics, generated from ``service.telemetry.metrics``."""

from typing import Any

from handbook.schema import table
from service.telemetry.instruments import Counter, Histogram, Instrument
from service.telemetry.metrics import Metrics


def page() -> str:
    """The generated part of the page, in Markdown."""
    rows = [
        (f"`{name(each)}`", type(each).__name__.lower(), ", ".join(f"`{label}`" for label in each.labels), _text(each))
        for each in metrics()
    ]
    return table(("metric", "type", "labels", "meaning"), rows)


def metrics() -> list[Instrument[Any]]:
    """All metrics."""
    return list(Metrics().instruments.values())


def name(metric: Instrument[Any]) -> str:
    """The name of a metric in queries."""
    return f"{metric.name}_total" if isinstance(metric, Counter) else metric.name


def _text(metric: Instrument[Any]) -> str:
    if not isinstance(metric, Histogram):
        return metric.text
    bounds = [f"{bound:g}" for bound in metric.buckets]
    return f"{metric.text} Buckets up to {', '.join(bounds)}."
