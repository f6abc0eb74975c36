"""Hours of load, or minutes: what the service holds at the start and at the end."""

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.chaos.fuzz import changed, posted
from benchmarks.chaos.hostile import HONEST, PNG, png
from benchmarks.serving import load
from benchmarks.serving.plan import Closed, Plan
from benchmarks.serving.requests import Digits
from benchmarks.serving.results import OK
from benchmarks.serving.servers import Server, ours, running

WARM_UP = 0.1
"""The share of the time after which the first values are read. Until then, each process fills its pools."""

CONNECTIONS = 4


class Held(NamedTuple):
    """What the processes of a service hold together.

    Attributes:
        megabytes: their memory. Memory that several processes share counts once (Linux, proc_pid_smaps(5), "Pss").
        descriptors: their open file descriptors.
        threads: their threads.
    """

    megabytes: float
    descriptors: int
    threads: int


def held(server: Server) -> Held:
    """What the processes of a server hold now."""
    folders = [Path("/proc", str(process)) for process in server.processes()]
    lines = [line.split() for each in folders for line in (each / "smaps_rollup").read_text().splitlines()]
    return Held(
        megabytes=sum(int(words[1]) for words in lines if words[0] == "Pss:") / 1024,
        descriptors=sum(len(list((each / "fd").iterdir())) for each in folders),
        threads=sum(len(list((each / "task").iterdir())) for each in folders),
    )


def measure(digits: Digits, seconds: float, seed: int, report: Callable[[str], object]) -> Iterator[str]:
    """Send valid requests and changed pictures for some time, and yield the lines of a table."""
    yield "| time | memory, MB | descriptors | threads |"
    yield "| --- | --- | --- | --- |"
    dice = random.Random(seed)  # noqa: S311 (no secret)
    with load.process() as loader, running(ours()) as server:
        plan = Plan(server.port, Closed(CONNECTIONS, seconds), HONEST)
        future, began = loader.submit(load.measure, plan, digits), time.monotonic()
        for share in (WARM_UP, 0.5, 0.95):
            report(f"soaking up to {share * seconds:.0f} s")
            while time.monotonic() < began + share * seconds:
                posted(server.port, "/predict", PNG, changed(dice, png(digits.images[:1])))
            found = held(server)
            yield f"| {share * seconds:.0f} s | {found.megabytes:.0f} | {found.descriptors} | {found.threads} |"
        result = future.result()
    failed = int((result.status != OK).sum())
    yield f"\n{len(result.status):,} valid requests, {failed} of them without an answer of status 200."
