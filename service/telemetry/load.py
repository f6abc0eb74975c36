"""Reports how busy a worker process is, for load balancers that ask.

The form is that of ORCA (Open Request Cost Aggregation): the fields of ``xds.data.orca.v3.OrcaLoadReport``, in the
header ``endpoint-load-metrics``, which Envoy reads. The header begins with the name of its format, ``TEXT`` or
``JSON``.
"""

import json
import time
from collections.abc import Callable
from typing import NamedTuple

from service.engine.engine import Engine
from service.telemetry.metrics import Metrics, RequestCounts

HEADER = b"endpoint-load-metrics"

WINDOW = 1.0
"""Rates are averages over at least this many seconds. Envoy updates its weights once a second by default."""

Clock = Callable[[], float]
"""Returns seconds."""


class Rates(NamedTuple):
    """How busy the process was over a time.

    Attributes:
        busy: the processor time of the process, as a share of the time of the threads that compute; 1 for full load.
        answered: answered requests in a second.
        failed: refused and failed requests in a second.
    """

    busy: float
    answered: float
    failed: float


class Sample(NamedTuple):
    """What the process had done at a time.

    Attributes:
        seconds: the time.
        processor_seconds: the processor time of the process.
        requests: the requests since the start.
    """

    seconds: float
    processor_seconds: float
    requests: RequestCounts


class LoadReporter:
    """Reports the load of this process. One thread, that of the event loop, may call it.

    A report is about the worker process that answers. This worker is a fair sample, because the workers share the
    connections evenly. The balancer sees one endpoint, so we multiply the rates by the number of workers.

    Args:
        metrics: counts the requests.
        engine: has the queue.
        workers: the number of worker processes.
        threads: the number of threads that compute in each worker process.
        clock: the wall clock.
        processor_clock: the clock that counts the processor time of this process.
    """

    def __init__(
        self,
        metrics: Metrics,
        engine: Engine,
        workers: int,
        threads: int,
        clock: Clock = time.perf_counter,
        processor_clock: Clock = time.process_time,
    ) -> None:
        self._metrics = metrics
        self._engine = engine
        self._workers = workers
        self._threads = threads
        self._clock = clock
        self._processor_clock = processor_clock
        self._rates = Rates(0, 0, 0)
        self._last = self._sample()

    def headers(self, form: str) -> list[tuple[bytes, bytes]]:
        """The header with a report; none if the format is unknown, because a report is a courtesy.

        Args:
            form: the name of the format, text or json, in any case.
        """
        write = {"text": _as_text, "json": _as_json}.get(form.strip().lower())
        return [] if write is None else [(HEADER, write(*self._report()).encode())]

    def _report(self) -> tuple[dict[str, float], dict[str, float]]:
        """The fields of the report, and the named metrics."""
        self._update_rates()
        busy, answered, failed = self._rates
        admission = self._engine.admission
        queued_seconds = admission.queued_seconds
        fields = {
            "application_utilization": busy + queued_seconds / admission.seconds,
            "cpu_utilization": busy,
            "rps_fractional": answered * self._workers,
            "eps": failed * self._workers,
        }
        named = {
            "rows_queued": admission.rows,
            "rows_inflight": self._engine.rows,
            "queued_seconds": queued_seconds,
        }
        return fields, named

    def _update_rates(self) -> None:
        """Measure the rates since the last sample, if it is old enough."""
        if self._clock() - self._last.seconds < WINDOW:
            return
        last, now = self._last, self._sample()
        seconds = now.seconds - last.seconds
        busy = (now.processor_seconds - last.processor_seconds) / (seconds * self._threads)
        requests = now.requests - last.requests
        self._rates = Rates(busy, requests.answered / seconds, requests.failed / seconds)
        self._last = now

    def _sample(self) -> Sample:
        return Sample(self._clock(), self._processor_clock(), self._metrics.answered())


def _as_text(fields: dict[str, float], named: dict[str, float]) -> str:
    """The format TEXT: names and values, separated by commas."""
    everything = fields | {f"named_metrics.{name}": value for name, value in named.items()}
    return "TEXT " + ",".join(f"{name}={value:.6g}" for name, value in everything.items())


def _as_json(fields: dict[str, float], named: dict[str, float]) -> str:
    """The format JSON: protobuf's JSON of the report, on one line."""
    rounded = {name: float(f"{value:.6g}") for name, value in fields.items()}
    return "JSON " + json.dumps({**rounded, "named_metrics": named}, separators=(",", ":"))
