"""The metrics of a running service, as its route /metrics reports them."""

from collections import defaultdict
from http.client import HTTPConnection

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.serving.plan import HOST
from benchmarks.serving.servers import Server


class Metrics:
    """The values of all metrics, each summed over its labels.

    Args:
        text: the answer of /metrics, in the text format of Prometheus.
    """

    def __init__(self, text: str) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._sums[sample.name] += sample.value

    def count(self, name: str) -> float:
        """The value of a metric; 0 if the service does not report it."""
        return self._sums.get(name, 0.0)


def read_metrics(server: Server) -> Metrics:
    """Read the metrics of a service."""
    connection = HTTPConnection(HOST, server.port, timeout=30)
    try:
        connection.request("GET", "/metrics", headers={"Accept": "text/plain"})
        return Metrics(connection.getresponse().read().decode())
    finally:
        connection.close()
