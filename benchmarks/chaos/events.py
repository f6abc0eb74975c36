"""What happens to the requests of honest callers when something goes wrong with the service."""

import os
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.serving import load, swap
from benchmarks.serving.plan import HOST, Closed, Plan
from benchmarks.serving.requests import Digits
from benchmarks.serving.results import OK, REFUSED
from benchmarks.serving.servers import Server, ours, running

CONNECTIONS = 8
EASY = 20
"""The first digits of the test set. The default model classifies each of them correctly."""

BEFORE, LENGTH = 1.5, 10.0
"""Seconds of load before the event, and in all. A stopped worker is replaced after five seconds."""

UNAVAILABLE = 503


class Event(NamedTuple):
    """Something that goes wrong.

    Attributes:
        name: the name in the results.
        happen: makes it happen, given the service and its models folder.
    """

    name: str
    happen: Callable[[Server, Path], object]


def workers(server: Server) -> list[int]:
    """The worker processes. They are children of the process that the supervisor has started to fork them."""
    return [each for each in server.processes() if _parent(_parent(each)) == server.process.pid]


def kill(server: Server, _: Path) -> None:
    """Kill a worker."""
    os.kill(workers(server)[0], signal.SIGKILL)


def kill_again_and_again(server: Server, _: Path) -> None:
    """Kill a worker every second, five times."""
    for _again in range(5):
        for worker in workers(server)[:1]:
            os.kill(worker, signal.SIGKILL)
        time.sleep(1)


def stop(server: Server, _: Path) -> None:
    """Suspend a worker for ever."""
    os.kill(workers(server)[0], signal.SIGSTOP)


def replace(server: Server, _: Path) -> None:
    """Replace all workers, one after another."""
    server.process.send_signal(signal.SIGHUP)


def fill(server: Server, _: Path) -> None:
    """Let no process write to a file any more, as if the disk were full."""
    for process in server.processes():
        resource.prlimit(process, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def drop(server: Server, _: Path) -> None:
    """Send 500 requests for a costly answer, each on a connection that is closed before the answer."""
    head = b"POST /predict?method=heun2&tolerance=1e-6 HTTP/1.1\r\nhost: here\r\n"
    head += b"content-type: application/octet-stream\r\n"
    for number in range(500):
        with socket.create_connection((HOST, server.port)) as connection:
            connection.sendall(head + b"content-length: 784\r\n\r\n" + bytes(784 if number % 2 else 400))


def swap_model(_: Server, models: Path) -> None:
    """Replace the model by another version, twice."""
    for version in (2, 3):
        swap.add(models, version)
        time.sleep(2)


EVENTS = (
    Event("nothing", lambda *_: None),
    Event("a worker is killed", kill),
    Event("a worker is killed every second, five times", kill_again_and_again),
    Event("a worker is suspended", stop),
    Event("all workers are replaced (SIGHUP)", replace),
    Event("the disk is full", fill),
    Event("500 callers disconnect before their answers", drop),
    Event("the model is swapped twice", swap_model),
)


def measure(digits: Digits, report: Callable[[str], object]) -> Iterator[str]:
    """Let each event happen under load, and yield the lines of a table."""
    yield f"| event, under load on {CONNECTIONS} connections | answered | lost | refused | wrong |"
    yield "| --- | --- | --- | --- | --- |"
    for event in EVENTS:
        report(event.name)
        with TemporaryDirectory() as folder, load.process() as loader:
            swap.add(Path(folder), 1)
            flags = ("--models", folder, "--watch-seconds", "0.5", "--workers", "2")
            with running(ours(*flags)) as server:
                easy = Digits(digits.images[:EASY], digits.labels[:EASY])
                future = loader.submit(load.measure, Plan(server.port, Closed(CONNECTIONS, LENGTH, 0)), easy)
                time.sleep(BEFORE)
                event.happen(server, Path(folder))
                result = future.result()
        wrong = int((result.answers.digit != result.answers.label).sum())
        answered = int((result.status == OK).sum())
        refused = sum(int((result.status == each).sum()) for each in (REFUSED, UNAVAILABLE))
        lost = len(result.status) - answered - refused
        yield f"| {event.name} | {answered:,} | {lost} | {refused} | {wrong} |"


def _parent(process: int) -> int:
    """The parent of a process (Linux, proc_pid_stat(5)); 0 if the process has ended."""
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
