"""Starts the service as a fork of a process that has imported it, which saves each start the imports."""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing import process
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from service.__main__ import main

forks = multiprocessing.get_context("forkserver")


class ForkedService:
    """A service of one process, with the methods of `subprocess.Popen` that the tests call.

    Args:
        flags: the flags of the service.
        environment: the whole environment of the process.

    Attributes:
        pid: the number of the process.
        stderr: what the service writes to its standard error.
    """

    def __init__(self, flags: Sequence[str], environment: Mapping[str, str]) -> None:
        reading, writing = forks.Pipe(duplex=False)
        forks.set_forkserver_preload(["service.app", "service.server.main"])
        self._process = forks.Process(target=_serve, args=(writing, list(flags), dict(environment)))
        self._process.start()
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


def _serve(stderr: Connection, flags: list[str], environment: dict[str, str]) -> None:
    """Become the service, in the new process."""
    with Path(os.devnull).open("wb") as nothing:
        os.dup2(nothing.fileno(), 1)
    os.dup2(stderr.fileno(), 2)
    stderr.close()
    os.chdir(Path(__file__).parents[1])
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["service", *flags]
    process._parent_process = None  # type: ignore[attr-defined] # otherwise the service takes itself for a worker
    main()
