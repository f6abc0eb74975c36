"""Several processes that serve at one address."""

import logging
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

logger = logging.getLogger("uvicorn.error")


class Processes(Multiprocess):
    """uvicorn's supervisor of worker processes, which gives a socket to each.

    Where all accept connections from one socket, whoever wakes up first takes most of them, and its callers wait for
    each other while the others idle. Over several sockets at one address the kernel spreads connections evenly
    (Linux, socket(7), SO_REUSEPORT). A process that is started anew listens on all of them.
    """

    def init_processes(self) -> None:
        """Start the processes."""
        for own in self.sockets:
            process = Process(self.config, [own])
            process.start()
            self.processes.append(process)

    def keep_subprocess_alive(self) -> None:
        """Start processes anew that have died."""
        with self._burying():
            super().keep_subprocess_alive()

    def restart_all(self) -> None:
        """Replace each process by another."""
        with self._burying():
            super().restart_all()

    @contextmanager
    def _burying(self) -> Iterator[None]:
        """Have what processes that are gone by then were serving counted no more; what they have done still is."""
        before = {process.pid for process in self.processes}
        yield
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]

    def handle_ttin(self) -> None:
        """Start no further process: it would have no socket."""

    def handle_ttou(self) -> None:
        """Stop no process: its socket would stay, and nobody accept from it."""


def serve(config: uvicorn.Config) -> None:
    """Serve by as many processes as the configuration has workers, until a signal ends it.

    Where a process fails to start, all end, and this one with the same status.

    Raises:
        OSError: the address cannot be listened on.
    """
    with _bound(config.host, config.port, shared=False) as alone:  # which fails where anybody listens already
        port: int = alone.getsockname()[1]
    sockets = [_bound(config.host, port, shared=True) for _ in range(config.workers)]
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "https" if config.is_ssl else "http"
    logger.info("Uvicorn running on %s://%s:%d (Press CTRL+C to quit)", scheme, host, port)
    processes = Processes(config, sockets)
    processes.run()
    if any(process.exitcode == STARTUP_FAILURE for process in processes.processes):
        sys.exit(STARTUP_FAILURE)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket at an address, which others may share with it or not."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.set_inheritable(True)
    return bound
