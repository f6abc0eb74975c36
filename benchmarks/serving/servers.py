"""Servers in processes of their own: the service, and what one would write first."""

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

from benchmarks.serving.plan import HOST

ROOT = Path(__file__).parents[2]
CONTENDERS = "benchmarks.serving.contenders"
LONGEST_START = 60.0
LONGEST_STOP = 20.0
UNAVAILABLE = 503


class ServerError(Exception):
    """A server does not start; the message has the end of what it wrote."""


@dataclass(frozen=True)
class Command:
    """How to start a server.

    Attributes:
        name: what it is called in results.
        arguments: of Python, but for the port.
        environment: set beside what is inherited.
    """

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def ours(*flags: str, name: str = "ours") -> Command:
    """The service.

    Args:
        flags: of `python -m service`.
        name: what it is called in results.
    """
    return Command(name, ("-m", "service", "--log-level", "warning", *flags))


def contender(module: str, name: str, *more: str, **environment: str) -> Command:
    """A contender, by uvicorn the same way as the service.

    Args:
        module: in `benchmarks.serving.contenders`.
        name: what it is called in results.
        more: flags of uvicorn.
        environment: its settings.
    """
    flags = ("--factory", "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    return Command(name, ("-m", "uvicorn", f"{CONTENDERS}.{module}:create_app", *flags, *more), environment)


@dataclass
class Server:
    """A server that answers.

    Attributes:
        name: what it is called in results.
        port: where it listens.
        process: its first process.
    """

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """What it has spent of the processors' time so far, its child processes included."""
        return sum(_cpu_seconds(process) for process in _family(self.process.pid))


@contextmanager
def running(command: Command) -> Iterator[Server]:
    """A server on a free port, stopped when it is left.

    Raises:
        ServerError: it does not start.
    """
    port = _free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ODENET_")}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(  # noqa: S603 (the commands are this module's)
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
                    said = log.read().decode(errors="replace").strip().splitlines()
                    raise ServerError(f"{command.name} does not start: {said[-1] if said else 'it says nothing'}")
                yield Server(command.name, port, process)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(LONGEST_STOP)
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
    """Whether a server comes to answer; contenders have no such route, and say so once they are up."""
    give_up = time.monotonic() + LONGEST_START
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
    """A process and all that come from it, as Linux tells them."""
    family = [process]
    for parent in family:
        for children in Path("/proc", str(parent), "task").glob("*/children"):
            family.extend(int(child) for child in children.read_text().split())
    return family


def _cpu_seconds(process: int) -> float:
    """User and system time, by Linux's `stat`, whose second field may hold spaces."""
    numbers = Path("/proc", str(process), "stat").read_text().rpartition(")")[2].split()
    return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
