"""The reference page of the metrics, generated from ``service.telemetry.metrics``."""

from typing import Any

from service.telemetry.instruments import Counter, Histogram, Instrument
from service.telemetry.metrics import Metrics


def page() -> str:
    """The generated part of the page, in Markdown."""
    return "\n".join(f"## `{name(each)}`\n\n{_facts(each)}\n\n{_text(each)}\n" for each in metrics())


def metrics() -> list[Instrument[Any]]:
    """All metrics."""
    return list(Metrics().instruments.values())


def name(metric: Instrument[Any]) -> str:
    """The name of a metric in queries."""
    return f"{metric.name}_total" if isinstance(metric, Counter) else metric.name


def _facts(metric: Instrument[Any]) -> str:
    """The type of a metric and its labels."""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"{type(metric).__name__.lower()}; " + (f"labels {labels}" if labels else "no labels")


def _text(metric: Instrument[Any]) -> str:
    if not isinstance(metric, Histogram):
        return metric.text
    bounds = [f"{bound:g}" for bound in metric.buckets]
    return f"{metric.text} Buckets up to {', '.join(bounds)}."
