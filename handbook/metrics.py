"""The reference page of the metrics, generated from ``service.telemetry.metrics``."""

from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from handbook.schema import table
from service.telemetry.metrics import Metrics

HEAD = """# Metrics

The metrics of `GET /metrics`. This page is generated from `service/telemetry/metrics.py`.
[Watch the service](../howto/observe.md) says how to use them. A histogram `NAME` consists of the series `NAME_bucket`,
`NAME_sum` and `NAME_count`.

"""


def page() -> str:
    """The page, in Markdown."""
    rows = [
        (f"`{name(each)}`", str(each._type), ", ".join(f"`{label}`" for label in each._labelnames), _text(each))
        for each in metrics()
    ]
    return HEAD + table(("metric", "type", "labels", ""), rows)


def metrics() -> list[MetricWrapperBase]:
    """All metrics. The library's public interface is no help here, because it omits the labels of unused metrics."""
    found = vars(Metrics()).values()
    flat = [each for value in found for each in (value if isinstance(value, list) else [value])]
    return [each for each in flat if isinstance(each, MetricWrapperBase)]


def name(metric: MetricWrapperBase) -> str:
    """The name of a metric in queries."""
    return f"{metric._name}_total" if isinstance(metric, Counter) else metric._name


def _text(metric: MetricWrapperBase) -> str:
    text = metric._documentation
    if isinstance(metric, Histogram):
        bounds = [f"{bound:g}" for bound in metric._upper_bounds[:-1]]
        text += f" Buckets up to {', '.join(bounds)}."
    return text
