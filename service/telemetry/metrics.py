"""The metrics of the service. They are sums over all worker processes."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric

from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest, Phases
from service.engine.scheduler import Iteration
from service.errors import OverloadedError, RateLimitedError, RequestError, StoppingError
from service.telemetry.instruments import Across, Counter, Distribution, Gauge, Histogram, Instrument, Merged, Value
from service.telemetry.numbers import SharedNumbers

SECONDS = tuple(float(f"{factor}e{power}") for power in range(-4, 2) for factor in (1, 2, 5))
EVALUATIONS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024, 4096)
TOLERANCES = tuple(float(f"{factor}e{power}") for power in range(-6, 2) for factor in (1, 3))[:-1]
ROWS = tuple(1 << power for power in range(10))
SHED_REASONS = ("queue_full", "stopping", "rate_limited")
CANCELLED_STAGES = ("queued", "solving")
STEP_OUTCOMES = ("accepted", "rejected")
Kind = TypeVar("Kind", bound=Instrument[Any])
INFERENCE_CALLS = ("/ModelInfer", "/ModelStreamInfer")
"""The ends of the gRPC methods that compute."""

FAILED_CALLS = frozenset({"RESOURCE_EXHAUSTED", "INTERNAL", "UNAVAILABLE"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@dataclass(frozen=True)
class Statistics:
    """The work of a version of a model since the start, in all worker processes.

    Attributes:
        rows: the number of answered images.
        iterations: the number of iterations. In each iteration, all images of a batch take one batched solver step.
        answered: the number of answered requests.
        failed: the number of requests that ended without an answer.
        last_answered: the time of the last answer, in seconds since 1970; 0 if there was no answer.
        seconds: the sum of each phase over the answered requests.
    """

    rows: int
    iterations: int
    answered: int
    failed: int
    last_answered: float
    seconds: Phases


@dataclass(frozen=True)
class RequestCounts:
    """How many requests a process has answered, by their result.

    Attributes:
        answered: the requests that did not fail.
        failed: the requests with status 429 or 5xx, without 504, and the gRPC calls with a status of `FAILED_CALLS`.
            The cause of a 504 or DEADLINE_EXCEEDED is the deadline of the caller.
    """

    answered: int
    failed: int

    def __sub__(self, earlier: "RequestCounts") -> "RequestCounts":
        return RequestCounts(self.answered - earlier.answered, self.failed - earlier.failed)


class MethodMetrics(NamedTuple):
    """The metrics of a method of a model."""

    nfe: Distribution
    accepted: Value
    rejected: Value


class ModelMetrics(NamedTuple):
    """The metrics of a model. We look them up by their labels only once, because a lookup takes as long as counting."""

    ends: dict[End, Value]
    rows: Value
    last: Value
    degraded: Value
    escalated: Value
    phases: list[Distribution]
    method: Callable[[str], MethodMetrics]

    def answered(self, request: EngineRequest) -> None:
        """Count an answered request."""
        self.rows.add(len(request.images))
        self.last.set(time.time())
        for histogram, seconds in zip(self.phases, request.phases or (), strict=True):
            histogram.observe(seconds)
        if degraded := sum(request.degraded):
            self.degraded.add(degraded)
        if escalated := sum(request.escalated):
            self.escalated.add(escalated)
        answer, totals = request.answer, dict[str, list[int]]()
        columns = (answer.nfe.tolist(), answer.steps.tolist(), answer.rejected.tolist())
        for candidate, nfe, steps, rejected in zip(request.chosen, *columns, strict=True):
            if candidate.method is not None:
                self.method(candidate.method).nfe.observe(nfe)
                total = totals.setdefault(candidate.method, [0, 0])
                total[0] += steps - rejected
                total[1] += rejected
        for method, (accepted, rejected) in totals.items():
            self.method(method).accepted.add(accepted)
            self.method(method).rejected.add(rejected)


class Metrics:
    """Counts the work of the service. `changed` may be called by any thread, the other methods by one thread.

    Args:
        shared: the folder that the worker processes share; None for a process that serves alone.

    Attributes:
        instruments: all metrics, by their names.
    """

    def __init__(self, shared: Path | None = None) -> None:
        self.instruments: dict[str, Instrument[Any]] = {}
        self._numbers = SharedNumbers(shared)
        model = ["model", "version"]

        def histogram(name: str, text: str, labels: list[str], buckets: tuple[float, ...]) -> Histogram:
            return self._add(Histogram(self._numbers, f"odenet_{name}", text, labels, buckets))

        def counter(name: str, text: str, labels: list[str]) -> Counter:
            return self._add(Counter(self._numbers, f"odenet_{name}", text, labels))

        def gauge(name: str, text: str, labels: list[str], across: Across = sum) -> Gauge:
            return self._add(Gauge(self._numbers, f"odenet_{name}", text, labels, across))

        self._requests = histogram(
            "request_duration_seconds",
            "From the first line of an HTTP request to the end of its answer.",
            ["method", "route", "status"],
            SECONDS,
        )
        self._calls = histogram(
            "grpc_duration_seconds",
            "From the arrival of a gRPC call, or of a message in a stream, to its answer.",
            ["method", "status"],
            SECONDS,
        )
        self._phases = [
            histogram(f"{phase}_seconds", f"The phase {phase} of an answered request for inference.", model, SECONDS)
            for phase in Phases._fields
        ]
        self._inferences = counter("inferences", "Requests that reached a model, by how they ended.", [*model, "end"])
        self._rows = counter("rows", "Answered images.", model)
        self._nfe = histogram("solver_nfe", "Evaluations of f for each image.", [*model, "method"], EVALUATIONS)
        self._steps = counter(
            "solver_steps", "Steps attempted in the last solve of answered images.", [*model, "method", "outcome"]
        )
        self._requested_rtol = histogram("requested_rtol", "The rtol of requests that name one.", [], TOLERANCES).of()
        self._batch_rows = histogram("batch_rows", "Images in one batched solver step.", model, ROWS)
        self._inflight = gauge("rows_inflight", "Images that are being solved, without the queue.", []).of()
        self._queued = gauge("rows_queued", "Images in the queue.", []).of()
        self._queued_seconds = gauge("queued_seconds", "Estimated seconds of the work in the queue.", []).of()
        self._limit = gauge("queue_limit_seconds", "The longest time by which other work may delay an answer.", []).of()
        self._shed = counter("shed", "Requests for inference that were refused.", ["reason"])
        self._degraded = counter("degraded", "Images solved more loosely than requested.", model)
        self._escalated = counter("escalated", "Images solved again because their margin was small.", model)
        self._cancelled = counter("cancelled", "Requests whose caller disconnected before the answer.", ["stage"])
        self._missed = counter("deadline_missed", "Requests whose deadline passed before the answer.", []).of()
        self._loaded = gauge("models_loaded", "How many processes serve a version of a model.", model)
        self._load_failures = counter("model_load_failures", "Failed attempts to load a version.", ["model"])
        self._last = gauge(
            "last_answer_timestamp_seconds", "When the last request for inference was answered.", model, max
        )
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._engine = Lock()
        self._model_metrics: WeakKeyDictionary[ServedModel, ModelMetrics] = WeakKeyDictionary()
        for reason in SHED_REASONS:  # so that a counter is reported as 0 before its first event
            self._shed.of(reason)
        for stage in CANCELLED_STAGES:
            self._cancelled.of(stage)

    def requested(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered HTTP request."""
        label = method if method in METHODS else "other"
        self._requests.of(label, route, str(status)).observe(seconds)

    def answered(self) -> RequestCounts:
        """The POST requests and gRPC calls for inference that this process has answered.

        Probes and scrapes do not count. They are GET requests and other calls.
        """
        counts = {False: 0, True: 0}
        for (method, _, status), durations in self._requests.children():
            if method == "POST":
                failed = status == "429" or (status.startswith("5") and status != "504")
                counts[failed] += durations.count
        for (method, status), durations in self._calls.children():
            if method.endswith(INFERENCE_CALLS):
                counts[status in FAILED_CALLS] += durations.count
        return RequestCounts(answered=counts[False], failed=counts[True])

    def called(self, method: str, status: str, seconds: float) -> None:
        """Count an answered gRPC call."""
        self._calls.of(method, status).observe(seconds)

    def refused(self, error: RequestError) -> None:
        """Count a refused request, if it was refused because the service is busy or stopping, or by a rate limit."""
        match error:
            case RateLimitedError():
                self._shed.of(SHED_REASONS[2]).add()
            case OverloadedError():
                self._shed.of(SHED_REASONS[0]).add()
            case StoppingError():
                self._shed.of(SHED_REASONS[1]).add()

    def changed(self, engine: Engine, iteration: Iteration | None) -> None:
        """Count an iteration of the engine, if there was one, and note how many images are in flight and queued."""
        with self._engine:
            if iteration is not None and iteration.rows:
                self._batch_rows.of(iteration.model, iteration.version).observe(iteration.rows)
            self._inflight.set(engine.rows)
            self._queued.set(engine.admission.rows)
            self._queued_seconds.set(engine.admission.queued_seconds)

    def ended(self, request: EngineRequest) -> None:
        """Count a request for inference that has ended."""
        assert request.end is not None  # noqa: S101 (the engine reports only requests that have ended)
        if request.model not in self._model_metrics:
            self._model_metrics[request.model] = self._find_model_metrics(request.model)
        metrics = self._model_metrics[request.model]
        metrics.ends[request.end].add()
        if request.plan.requested_rtol is not None:
            self._requested_rtol.observe(request.plan.requested_rtol)
        match request.end:
            case End.answered:
                metrics.answered(request)
            case End.cancelled:
                self._cancelled.of(CANCELLED_STAGES[request.started > 0]).add()
            case End.expired:
                self._missed.add()

    def set_queue_limit(self, queue_seconds: float) -> None:
        """Set the longest time by which other work may delay an answer."""
        self._limit.set(queue_seconds)

    def served(self, model: ServedModel, loaded: bool) -> None:
        """Note that this process now serves a model, or no longer serves it."""
        self._loaded.of(model.name, model.version).set(int(loaded))
        self._load_failures.of(model.name)
        self._degraded.of(model.name, model.version)  # so that it is reported as 0 before its first event
        self._escalated.of(model.name, model.version)
        for end in End:
            self._inferences.of(model.name, model.version, end.value)

    def failed_to_load(self, model: str) -> None:
        """Count a failed attempt to load a version of a model."""
        self._load_failures.of(model).add()

    def collect(self) -> Iterable[Metric]:
        """All metrics of all processes, as prometheus_client asks for them."""
        merged: dict[str, Merged] = {name: {} for name in self.instruments}
        for series in self._numbers.read():
            self.instruments[series.metric].merge(merged[series.metric], series)
        return [self.instruments[name].family(each) for name, each in merged.items()]

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the form that an Accept header prefers, and the media type of this form."""
        try:
            encode, media_type = choose_encoder(accept)
        except (TypeError, ValueError):  # the header names a version that does not exist
            encode, media_type = choose_encoder("")
        return encode(self._registry), media_type

    def statistics(self, model: str, version: str) -> Statistics:
        """The statistics of a version of a model."""
        sums: dict[str, float] = defaultdict(float)
        for family in self.collect():
            for sample in family.samples:
                if (sample.labels.get("model"), sample.labels.get("version")) == (model, version):
                    sums[sample.name.removeprefix("odenet_")] += sample.value
                    if sample.labels.get("end") == End.answered.value:
                        sums["answered"] += sample.value
        return Statistics(
            rows=int(sums["rows_total"]),
            iterations=int(sums["batch_rows_count"]),
            answered=int(sums["answered"]),
            failed=int(sums["inferences_total"] - sums["answered"]),
            last_answered=sums["last_answer_timestamp_seconds"],
            seconds=Phases(*(sums[f"{phase}_seconds_sum"] for phase in Phases._fields)),
        )

    def _add(self, instrument: Kind) -> Kind:
        self.instruments[instrument.name] = instrument
        return instrument

    def _find_model_metrics(self, model: ServedModel) -> "ModelMetrics":
        labels = model.name, model.version

        def find_method_metrics(method: str) -> MethodMetrics:
            steps = (self._steps.of(*labels, method, outcome) for outcome in STEP_OUTCOMES)
            return MethodMetrics(self._nfe.of(*labels, method), *steps)

        return ModelMetrics(
            {end: self._inferences.of(*labels, end.value) for end in End},
            self._rows.of(*labels),
            self._last.of(*labels),
            self._degraded.of(*labels),
            self._escalated.of(*labels),
            [histogram.of(*labels) for histogram in self._phases],
            cache(find_method_metrics),
        )
