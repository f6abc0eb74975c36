"""Part: requests that end early, by a deadline or because their caller disconnects."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import numpy as np

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.serving import load
from benchmarks.serving.metrics import read_metrics
from benchmarks.serving.plan import HOST, Closed, Plan
from benchmarks.serving.requests import Kind, RequestSequence
from benchmarks.serving.results import OK, summarise
from benchmarks.serving.servers import Server, running

DEADLINES_MS = (2, 4, 8, 16, 50)
CONNECTIONS = 8
CALLERS = 32
"""Callers that disconnect."""

LONG = "method=heun2&tolerance=1e-6"
"""The query of a request that takes hundreds of steps."""

QUEUE_SECONDS = "600"
"""The limit of the queue. It is so high that the service refuses no such request."""

IN_TIME = 0.99
"""The share of the answers that must be in time by the caller's clock."""

PATIENCE = 10.0
"""Seconds to wait until the images of callers that have gone are dropped."""

GONE_SECONDS = 1.0
"""The greatest seconds until they are dropped."""


def ends(check: Check, report: Report) -> None:
    """Measure deadlines, then disconnections."""
    with (
        load.process() as loader,
        check.service("--workers", "1", "--queue-seconds", QUEUE_SECONDS) as command,
        running(command) as server,
    ):
        for milliseconds in DEADLINES_MS:
            _deadline(check, report, server, loader, milliseconds)
        _disconnections(check, report, server)


def _deadline(check: Check, report: Report, server: Server, loader: ProcessPoolExecutor, milliseconds: int) -> None:
    """Measure a closed loop of requests with one image and a deadline."""
    kind = Kind(query=f"deadline_ms={milliseconds}")
    plan = Plan(server.port, Closed(CONNECTIONS, check.scale.seconds), (kind,))
    result = loader.submit(load.measure, plan, check.digits).result()
    summary = summarise(result)
    answered = result.status == OK
    latency = 1e3 * (result.finished - result.scheduled)[answered]
    in_time = float((latency <= milliseconds).mean()) if answered.any() else 0.0
    report.row(
        f"{CONNECTIONS} connections, one image each, by deadline",
        deadline_ms=milliseconds,
        images_per_second=summary.throughput,
        p50_ms=summary.p50,
        p99_ms=summary.p99,
        NFE=summary.nfe,
        answers_in_time=in_time,
        failed=", ".join(f"{reason}: {count}" for reason, count in summary.failed.items()),
    )
    if milliseconds == DEADLINES_MS[-1]:
        text = f"answers in time for a deadline of {milliseconds} ms"
        report.claim(text, f"{IN_TIME:.0%}", f"{in_time:.1%}", holds=in_time >= IN_TIME)


def _disconnections(check: Check, report: Report, server: Server) -> None:
    """Let callers send long requests and disconnect, and measure how long their images stay in flight."""
    kind = Kind(query=LONG, images=check.scale.images_of_body)
    requests = RequestSequence((kind,), check.digits, 0, f"{HOST}:{server.port}")
    callers = [socket.create_connection((HOST, server.port), timeout=PATIENCE) for _ in range(CALLERS)]
    for caller in callers:
        caller.sendall(requests.next().content)
    busy = _wait(server, lambda images: images > 0)
    for caller in callers:
        caller.close()
    took = _wait(server, lambda images: images == 0)
    cancelled = int(read_metrics(server).count("odenet_cancelled_total"))
    report.fact("seconds until the images of the callers were in the engine", busy)
    report.fact("requests of callers that disconnected and were cancelled", f"{cancelled} of {CALLERS}")
    reached = "never" if took is None else f"{took:.3g} s"
    holds = took is not None and took <= GONE_SECONDS and cancelled > 0
    report.claim("the images of callers that have gone are dropped after", f"{GONE_SECONDS:g} s", reached, holds=holds)
    result = load.measure(check.plan(server.port, Closed(1, check.scale.seconds)), check.digits)
    failed = int(np.count_nonzero(result.status != OK))
    report.claim("failed requests afterwards", "0", f"{failed} of {len(result.status)}", holds=failed == 0)


def _wait(server: Server, reached: Callable[[float], bool]) -> float | None:
    """Wait until the number of images in the engine fulfils a condition.

    Returns:
        The seconds; None if the condition is not fulfilled in `PATIENCE`.
    """
    began = time.perf_counter()
    while True:
        metrics = read_metrics(server)
        seconds = time.perf_counter() - began  # after the reading, which the service may hold up
        if reached(metrics.count("odenet_rows_inflight") + metrics.count("odenet_rows_queued")):
            return seconds
        if seconds > PATIENCE:
            return None
        time.sleep(0.01)
