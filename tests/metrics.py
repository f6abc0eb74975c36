"""Reads the metrics of a service, with the parser of prometheus_client."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """The metrics at one moment."""

    def __init__(self, text: str) -> None:
        self.values: dict[Sample, float] = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def total(self, name: str, **labels: str) -> float:
        """The sum of a metric over all samples with the given labels."""
        given = labels.items()
        return sum(
            value
            for (sample, sample_labels), value in self.values.items()
            if sample == f"odenet_{name}" and given <= sample_labels
        )


def scrape(client: httpx.Client) -> Scrape:
    """Scrape a service."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return Scrape(answer.text)
