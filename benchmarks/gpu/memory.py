"""Part: whether the memory of the device stays flat, over many requests and while the model is swapped under load."""

import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from benchmarks.gpu import card
from benchmarks.gpu.check import MODEL, Check
from benchmarks.gpu.report import Report
from benchmarks.serving import load
from benchmarks.serving.plan import Closed
from benchmarks.serving.results import OK, Result
from benchmarks.serving.servers import Server, running
from benchmarks.serving.swap import add, swap

CONNECTIONS = 16
GROWTH_MB = 64.0
"""The memory may grow by this many megabytes, because the driver and the allocator take memory in blocks."""


def memory(check: Check, report: Report) -> None:
    """Measure the memory after each load, and after each swap."""
    with load.process() as loader:
        with check.service("--workers", "1") as command, running(command) as server:
            _over_requests(check, report, server, loader)
        with TemporaryDirectory(prefix="models-") as folder:
            add(Path(folder), 1)
            flags = ("--models", folder, "--watch-seconds", "0", "--model-control", "--workers", "1")
            with running(check.command(*flags)) as server:
                _over_swaps(check, report, server, loader, Path(folder))


def _over_requests(check: Check, report: Report, server: Server, loader: ProcessPoolExecutor) -> None:
    """Measure the memory while requests are answered. The first load is a warm-up."""
    measured, answered, title = list[float](), 0, f"memory over {check.scale.requests:,} requests"
    while len(measured) < 2 or answered < check.scale.requests:
        plan = check.plan(server.port, Closed(CONNECTIONS, check.scale.seconds))
        result = loader.submit(load.measure, plan, check.digits).result()
        answered += int((result.status == OK).sum())
        measured.append(card.memory_megabytes(check.device, server))
        report.row(title, requests=answered, MB=measured[-1])
    _claim(report, f"growth of the memory over {answered:,} requests", measured[-1] - measured[0])


def _over_swaps(check: Check, report: Report, server: Server, loader: ProcessPoolExecutor, folder: Path) -> None:
    """Measure the memory after each swap under load. At the first swap two versions are loaded at the same time."""
    measured, ended = list[float](), Event()
    with ThreadPoolExecutor(1) as thread:
        loading = thread.submit(_load_until, check, server, loader, ended)
        try:
            for version in range(2, check.scale.swaps + 3):
                add(folder, version)
                began, done = swap(server.port)
                shutil.rmtree(folder / MODEL / str(version - 1))
                measured.append(card.memory_megabytes(check.device, server))
                report.row("memory over swaps under load", swaps=version - 1, seconds=done - began, MB=measured[-1])
        finally:
            ended.set()
        results = loading.result()
    failed = sum(int((result.status != OK).sum()) for result in results)
    requests = sum(len(result.status) for result in results)
    report.claim("failed requests while the model was swapped", "0", f"{failed} of {requests:,}", holds=failed == 0)
    _claim(
        report, f"growth of the memory from the first to the last of {len(measured)} swaps", measured[-1] - measured[0]
    )


def _load_until(check: Check, server: Server, loader: ProcessPoolExecutor, ended: Event) -> list[Result]:
    """Load a server with short closed loops until a swap has ended, and at least once."""
    results = list[Result]()
    while not results or not ended.is_set():
        plan = check.plan(server.port, Closed(CONNECTIONS, check.scale.seconds, warm_up=0.0))
        results.append(loader.submit(load.measure, plan, check.digits).result())
    return results


def _claim(report: Report, text: str, growth: float) -> None:
    report.claim(text, f"{GROWTH_MB:g} MB", f"{growth:.1f} MB", holds=growth <= GROWTH_MB)
