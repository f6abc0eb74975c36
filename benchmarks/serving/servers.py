"""Servers in processes of their own: the service, the contenders and the peers."""

import errno
import http.client
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.serving.plan import HOST
from benchmarks.serving.threads import Role, family, processor_seconds

ROOT = Path(__file__).parents[2]
CONTENDERS = "benchmarks.serving.contenders"
NAMED_THREADS = Path(__file__).parent / "named_threads"
PORT = "{port}"
"""The text in the arguments of a command that stands for the port."""

PORTS = range(10_000, 32_768)
"""The ports to choose from. By default, Linux gives none of these ports to a program that binds port 0."""

START_TIMEOUT = 300.0
STOP_TIMEOUT = 20.0
OK = 200


class ServerError(Exception):
    """A server does not start. The message has the last line of its output."""


@dataclass(frozen=True)
class Command:
    """The command that starts a server.

    Attributes:
        name: the name in the results.
        arguments: the program and its arguments. `PORT` stands for the port.
        environment: environment variables in addition to the inherited ones. `PORT` stands for the port.
        ready: the path that answers with 200 as soon as the server can answer requests.
    """

    name: str
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    ready: str = "/health/ready"


def ours(*flags: str, name: str = "ours") -> Command:
    """The command that starts the service, with thread names that Linux shows (`named_threads`).

    Args:
        flags: flags of `python -m service`.
        name: the name in the results.
    """
    service = (sys.executable, "-m", "service", "--log-level", "warning", "--host", HOST, "--port", PORT)
    path = os.pathsep.join(filter(None, [str(NAMED_THREADS), os.environ.get("PYTHONPATH")]))
    return Command(name, (*service, *flags), {"PYTHONPATH": path})


def contender(module: str, name: str, *more: str, **environment: str) -> Command:
    """The command that starts a contender, with the same settings of uvicorn as the service.

    Args:
        module: the module in `benchmarks.serving.contenders`.
        name: the name in the results.
        more: additional flags of uvicorn.
        environment: environment variables, which are the contender's settings.
    """
    uvicorn = (sys.executable, "-m", "uvicorn", f"{CONTENDERS}.{module}:create_app", "--factory")
    flags = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
    patience = ("--timeout-worker-healthcheck", f"{START_TIMEOUT:.0f}")  # otherwise, it kills slow workers after 5 s
    address = ("--host", HOST, "--port", PORT)
    return Command(name, (*uvicorn, *flags, *patience, *address, *more), environment, ready="/openapi.json")


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

    def processes(self) -> list[int]:
        """The parent process and its descendants."""
        return family(self.process.pid)

    def paused(self) -> AbstractContextManager[None]:
        """Suspend all processes of the server for the length of a block."""
        return suspended(*self.processes())

    def processor_seconds(self) -> dict[Role, float]:
        """The processor time of all processes of the server so far, by the role of the thread."""
        return processor_seconds(self.processes())


@contextmanager
def suspended(*processes: int) -> Iterator[None]:
    """Suspend processes for the length of the block. A process may end meanwhile."""
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


@contextmanager
def running(command: Command) -> Iterator[Server]:
    """Start a server on a free port; the end of the context stops it and all its descendants.

    Raises:
        ServerError: the server does not start.
    """
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ODENET_")}
    own = {name: value.replace(PORT, str(port)) for name, value in command.environment.items()}
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(  # noqa: S603 (the benchmark makes the commands)
                [argument.replace(PORT, str(port)) for argument in command.arguments],
                cwd=ROOT,
                env=inherited | own,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise ServerError(f"{command.name} does not start: {error}") from error
        with process:
            try:
                if not _answers(process, port, command.ready):
                    log.seek(0)
                    output = log.read().decode(errors="replace").strip().splitlines()
                    raise ServerError(f"{command.name} does not start: {output[-1] if output else 'no output'}")
                yield Server(command.name, port, process)
            finally:
                _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end. Then kill its remaining descendants and the remaining processes of its process group."""
    with ExitStack() as stack:
        members = []
        for member in family(process.pid)[1:]:
            with suppress(ProcessLookupError):
                members.append(os.pidfd_open(member))  # unlike a descriptor, a process id may be reused
                stack.callback(os.close, members[-1])
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_TIMEOUT)
        for member in members:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(member, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # the process leads its group
        for member in members:
            select.select([member], [], [], STOP_TIMEOUT)  # readable as soon as the process has ended


def free_port() -> int:
    """A port of this machine that no program uses, and that no other program is likely to take before the caller."""
    while True:
        port = secrets.choice(PORTS)  # the processes of the tests seed `random` equally
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return port


def _answers(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
    """Wait until a server answers with 200, and return whether it does."""
    give_up = time.monotonic() + START_TIMEOUT
    while process.poll() is None and time.monotonic() < give_up:
        connection = http.client.HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == OK:
                return True
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(0.05)
    return False
