"""A worker process, as the supervisor sees it and as it runs."""

import logging
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from multiprocessing import resource_tracker

from uvicorn._subprocess import subprocess_started
from uvicorn.supervisors.multiprocess import Process

from service.server.acceptor import ABSENT, Share
from service.server.graceful import GracefulServer
from service.server.http_protocol import ServerConfig

LONGEST_HANG = 30.0
"""Seconds after which a worker's event loop is taken to hang. The loop also computes, but only for milliseconds."""

SILENCE = 1.0
"""If a worker does not answer a ping within this many seconds, the other workers do not wait for it to accept."""

LONGEST_SILENCE = 4.5
"""Seconds in which a worker must answer a ping. A ping is sent every half second, so a stopped process is replaced
within five seconds."""

FOR_SUPERVISOR = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
"""Signals that a terminal or systemd sends to all processes of the service at once.

The supervisor passes them on in its own way. They are blocked in the process that forks the workers, because this
process tells the supervisor how a worker has ended. A worker unblocks SIGINT and SIGTERM once it has handlers."""

logger = logging.getLogger("uvicorn.error")

forks = multiprocessing.get_context("forkserver")
"""Workers are forks of one process that has imported the application. So they start sooner and share its memory."""

forks.set_forkserver_preload([__name__.replace("worker", "preload")])  # the wheel has it in another package


class Worker(Process):
    """A worker process, as the supervisor sees it and as it runs.

    Args:
        config: uvicorn's configuration.
        listener: the listening socket, which all workers share.
        share: the place of this worker among those that accept connections at the socket.
        grace_seconds: time for which the worker goes on accepting connections after SIGTERM.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, listener: socket.socket, share: Share, grace_seconds: float) -> None:
        super().__init__(config, [listener])
        self.share = share
        arguments = {"config": config, "target": self.target, "sockets": [listener], "stdin_fileno": None}
        self.process = forks.Process(target=subprocess_started, kwargs=arguments)  # type: ignore[assignment]
        self._grace_seconds = grace_seconds

    @property
    def server(self) -> GracefulServer:
        """The server, inside the worker process."""
        if not isinstance(self._server, GracefulServer):
            self._server = GracefulServer(self.config, self._grace_seconds, self.share)
        return self._server

    def start(self) -> None:
        """Start the process, with the signals for the supervisor blocked; see `FOR_SUPERVISOR`.

        Raises:
            OSError: the machine cannot start a process now.
        """
        resource_tracker.ensure_running()  # here, because the start of this process unblocks signals
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_SUPERVISOR)
        try:
            super().start()
        except EOFError as error:
            raise ChildProcessError("the process that forks the workers has ended, and is started anew") from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_SUPERVISOR)

    def pong(self) -> None:
        """Answer a ping of the supervisor, in a thread of the worker. If the event loop hangs, there is no answer."""
        self.child_conn.recv()
        if not self.server.hangs(LONGEST_HANG):
            self.child_conn.send(self.server.started)

    def state(self) -> bool | None:
        """Whether the worker has started to serve; None if the process has ended or does not answer in time.

        The other workers do not wait for a worker that is slow to answer to accept connections.
        """
        if self.process.is_alive():
            with suppress(OSError, EOFError):
                self.parent_conn.send(b"ping")
                if not self.parent_conn.poll(SILENCE):
                    self.share.publish(ABSENT)
                if self.parent_conn.poll(LONGEST_SILENCE - SILENCE):
                    return bool(self.parent_conn.recv())
        return None

    def send(self, sig: int) -> None:
        """Send a signal, if the process still lives."""
        if self.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, sig)

    def end(self, within: float) -> None:
        """Wait some seconds for the process to end, then kill it."""
        self.process.join(within)
        if self.exitcode is None:
            logger.error("Worker process [%s] does not end, and is killed", self.pid)
            self.kill()
            self.process.join()
