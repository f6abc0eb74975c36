"""Latency of requests while the service replaces the model with another version.

    python -m benchmarks.serving.swap [--seconds SECONDS] [--rounds ROUNDS] [--connections N]

A closed loop sends requests to a server with one worker. Several times, the server loads, checks and warms a new
version and swaps it in. The program compares the latencies from the start of the load to shortly after the swap with
the latencies in the seconds before. Prints Markdown.
"""

import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import numpy as np
import typer

from benchmarks.serving import load
from benchmarks.serving.plan import HOST, Closed, Plan
from benchmarks.serving.requests import Digits
from benchmarks.serving.results import Floats, Result, percentiles
from benchmarks.serving.servers import Server, ours, running
from models.artifact import newest
from training.data import load as load_dataset

NAME = "odenet-mnist"
FITTED = Path(__file__).parents[2] / "models" / "fitted" / NAME

AFTER = 0.3
"""Seconds after a swap that still count as during the swap, so that the first requests to the new version count."""

MAX_SWAP = 6.0
"""The longest expected duration of a swap in seconds, on a busy machine."""


class Swap(NamedTuple):
    """The start and the end of a swap, by `time.perf_counter`."""

    began: float
    ended: float


def main(
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds without a swap before each swap.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Swaps for each number of connections.")] = 5,
    connections: Annotated[
        list[int] | None, typer.Option(help="Connections of the closed loop.  [default: 1 and 4]")
    ] = None,
) -> None:
    """Measure the latency during swaps and before them."""
    images, labels = load_dataset().test
    digits = Digits(images.numpy(), labels.numpy())
    headings = (
        "connections",
        "swaps",
        "median swap, s",
        "p50 before, ms",
        "during",
        "p99 before, ms",
        "during",
        "maximum before, ms",
        "during",
        "failed",
    )
    typer.echo(f"| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")
    with load.process() as loader:
        for number in connections or (1, 4):
            with TemporaryDirectory() as folder:
                flags = ("--models", folder, "--model", NAME, "--model-control", "--watch-seconds", "0")
                add(Path(folder), 1)
                with running(ours("--workers", "1", *flags)) as server:
                    typer.echo(measure(server, Path(folder), loader, digits, number, seconds, rounds))


def add(folder: Path, version: int) -> None:
    """Copy the shipped model into a models folder, as the given version."""
    shipped = newest(FITTED)
    if shipped is None:
        raise FileNotFoundError(FITTED)
    target = folder / NAME / str(version)
    shutil.copytree(shipped, target)
    manifest = json.loads((target / "manifest.json").read_text())
    (target / "manifest.json").write_text(json.dumps(manifest | {"version": str(version)}))


def measure(
    server: Server,
    folder: Path,
    loader: ProcessPoolExecutor,
    digits: Digits,
    connections: int,
    seconds: float,
    rounds: int,
) -> str:
    """Swap versions under load, and return a line of the table."""
    length = rounds * (seconds + MAX_SWAP) + seconds
    running_load = loader.submit(load.measure, Plan(server.port, Closed(connections, length)), digits)
    time.sleep(1.0)
    swaps = []
    for version in range(2, rounds + 2):
        time.sleep(seconds)
        add(folder, version)
        swaps.append(swap(server.port))
    result = running_load.result()
    if swaps[-1].ended + AFTER > result.began + result.until:
        raise RuntimeError(f"the last swap ended after the load, because swaps took longer than {MAX_SWAP:g} s")
    took = [each.ended - each.began for each in swaps]
    quiet = [Swap(began - seconds, began) for began, _ in swaps]
    before, during = latencies(result, quiet, 0), latencies(result, swaps, AFTER)
    (p50, p99), (p50_during, p99_during) = percentiles(before, 50, 99), percentiles(during, 50, 99)
    columns = (
        f"{connections}",
        f"{len(swaps)}",
        f"{np.median(took):.2f}",
        f"{p50:.2f}",
        f"{p50_during:.2f} ({p50_during / p50:.2f})",
        f"{p99:.2f}",
        f"{p99_during:.2f} ({p99_during / p99:.2f})",
        f"{before.max():.1f}",
        f"{during.max():.1f}",
        f"{int((result.status != 200).sum())}",
    )
    return f"| {' | '.join(columns)} |"


def swap(port: int) -> Swap:
    """Make the service load the newest version, and wait until the service serves this version."""
    connection = HTTPConnection(HOST, port, timeout=60)
    began = time.perf_counter()
    connection.request("POST", f"/v2/repository/models/{NAME}/load", "{}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if answer.status != 200:
        raise RuntimeError(body.decode())
    return Swap(began, time.perf_counter())


def latencies(result: Result, windows: list[Swap], after: float) -> Floats:
    """The latencies in milliseconds of the answered requests that were in flight during one of the windows.

    Args:
        result: the result of the load.
        windows: the windows of time.
        after: the seconds that we add to each window.
    """
    sent, finished = result.sent + result.began, result.finished + result.began
    within = [(finished > began) & (sent < ended + after) for began, ended in windows]
    chosen = np.logical_or.reduce(within) & (result.status == 200)
    milliseconds: Floats = 1e3 * (finished - sent)[chosen]
    return milliseconds


if __name__ == "__main__":
    typer.run(main)
