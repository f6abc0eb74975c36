"""Servers in separate processes: the service and the contenders."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.serving.plan import HOST

ROOT = Path(__file__).parents[2]
CONTENDERS = "benchmarks.serving.contenders"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
UNAVAILABLE = 503


class ServerError(Exception):
    """A server does not start. The message has the last line of its output."""


@dataclass(frozen=True)
class Command:
    """The command that starts a server.

    Attributes:
        name: the name in the results.
        arguments: the arguments of Python, without host and port.
        environment: environment variables in addition to the inherited ones.
    """

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def ours(*flags: str, name: str = "ours") -> Command:
    """The command that starts the service.

    Args:
        flags: flags of `python -m service`.
        name: the name in the results.
    """
    return Command(name, ("-m", "service", "--log-level", "warning", *flags))


def contender(module: str, name: str, *more: str, **environment: str) -> Command:
    """The command that starts a contender, with the same settings of uvicorn as the service.

    Args:
        module: the module in `benchmarks.serving.contenders`.
        name: the name in the results.
        more: additional flags of uvicorn.
        environment: environment variables, which are the contender's settings.
    """
    flags = ("--factory", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Command(name, ("-m", "uvicorn", f"{CONTENDERS}.{module}:create_app", *flags, *more), environment)


class ThreadSeconds(NamedTuple):
    """The processor time of a server, by thread.

    Attributes:
        event_loop: seconds of the main threads, which run the event loops.
        others: seconds of all other threads, which compute, decode pictures and write long answers.
    """

    event_loop: float
    others: float


@dataclass
class Server:
    """A server that answers.

    Attributes:
        name: the name in the results.
        port: the port on which it listens.
        process: its parent process.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """The processor time of the server so far, including its child processes."""
        return sum(_cpu_seconds(process) for process in _family(self.process.pid))

    def thread_seconds(self) -> ThreadSeconds:
        """The processor time of the threads that still run, in nanosecond resolution (Linux, /proc/PID/schedstat)."""
        event_loop = others = 0.0
        for process in _family(self.process.pid):
            for task in Path("/proc", str(process), "task").iterdir():
                seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
                if task.name == str(process):
                    event_loop += seconds
                else:
                    others += seconds
        return ThreadSeconds(event_loop, others)


@contextmanager
def running(command: Command) -> Iterator[Server]:
    """Start a server on a free port; the end of the context stops it.

    Raises:
        ServerError: the server does not start.
    """
    port = _free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ODENET_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 (this module makes the commands)
            [sys.executable, *command.arguments, "--host", HOST, "--port", str(port)],
            cwd=ROOT,
            env=inherited | command.environment,
            stdout=log,
            stderr=log,
        )
        with process:
            try:
                if not _answers(process, port):
                    log.seek(0)
                    output = log.read().decode(errors="replace").strip().splitlines()
                    raise ServerError(f"{command.name} does not start: {output[-1] if output else 'no output'}")
                yield Server(command.name, port, process)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        for child in _family(process.pid)[1:]:
            os.kill(child, 9)
        process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until a server answers, and return whether it does. A contender answers 404, because it lacks the route."""
    give_up = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < give_up:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/health/ready")
            if connection.getresponse().status != UNAVAILABLE:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False


def _family(process: int) -> list[int]:
    """A process and its descendants, from Linux's /proc."""
    family = [process]
    for parent in family:
        for children in Path("/proc", str(parent), "task").glob("*/children"):
            family.extend(int(child) for child in children.read_text().split())
    return family


def _cpu_seconds(process: int) -> float:
    """User and system time from Linux's `stat`. Its second field, the name, may contain spaces."""
    numbers = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
