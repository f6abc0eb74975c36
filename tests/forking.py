"""Runs the service and its commands as forks of a process that has imported them, which saves the imports."""

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import process
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from service.__main__ import main

ROOT = Path(__file__).parents[1]
IMPORTED = ["service.cli.commands", "service.cli.predict", "service.server.main", "service.server.preload"]

forks = multiprocessing.get_context("forkserver")


class ForkedService:
    """A service, with the methods of `subprocess.Popen` that the tests call.

    Args:
        flags: the flags of the service.
        environment: the whole environment of the process.

    Attributes:
        pid: the number of the process.
        stderr: what the service writes to its standard error.
    """

    def __init__(self, flags: Sequence[str], environment: Mapping[str, str]) -> None:
        reading, writing = forks.Pipe(duplex=False)
        self._process = _start(_serve, writing, list(flags), dict(environment))
        writing.close()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.stderr: IO[str] = os.fdopen(os.dup(reading.fileno()), encoding="utf-8")
        reading.close()

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process, unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, sig)

    def wait(self, timeout: float) -> int:
        """Wait some seconds for the end of the process, and return its exit status, negative for a signal."""
        self._process.join(timeout)
        assert self._process.exitcode is not None, f"the service has not ended within {timeout} s"
        return self._process.exitcode


def run(
    words: Sequence[str], environment: Mapping[str, str], standard_input: bytes, timeout: float
) -> subprocess.CompletedProcess[bytes]:
    """Run ``python -m service`` with a command to its end.

    Args:
        words: the command and its arguments.
        environment: the whole environment of the process.
        standard_input: what the command reads.
        timeout: seconds after which a command that still runs is an error.
    """
    with TemporaryDirectory() as folder:
        read, written, reported = (Path(folder, name) for name in ("stdin", "stdout", "stderr"))
        read.write_bytes(standard_input)
        started = _start(_run, (read, written, reported), list(words), dict(environment))
        started.join(timeout)
        assert started.exitcode is not None, f"the command has not ended within {timeout} s"
        return subprocess.CompletedProcess(words, started.exitcode, written.read_bytes(), reported.read_bytes())


def _start(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    forks.set_forkserver_preload(IMPORTED)
    started = forks.Process(target=target, args=arguments)
    started.start()
    return started


def _serve(stderr: Connection, flags: list[str], environment: dict[str, str]) -> None:
    """Become the service, in the new process."""
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    _become(flags, environment)


def _run(files: tuple[Path, Path, Path], words: list[str], environment: dict[str, str]) -> None:
    """Become the command, in the new process. The files are its standard input, output and error."""
    for number, (path, mode) in enumerate(zip(files, ("rb", "wb", "wb"), strict=True)):
        with path.open(mode) as file:
            os.dup2(file.fileno(), number)
    sys.stdin = os.fdopen(0, encoding="utf-8")
    _become(words, environment)


def _become(words: list[str], environment: dict[str, str]) -> None:
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["service", *words]
    process._parent_process = None  # type: ignore[attr-defined] # otherwise the service takes itself for a worker
    main()
