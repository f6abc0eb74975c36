"""Several processes that serve at one address."""

import logging
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from types import FrameType

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from service.server.graceful import SIGNALLED, Server

LONGEST_START = 120.0
"""Seconds in which a process that is to replace another must have loaded the models."""

LONGEST_DELAY = 60.0
"""Seconds between two attempts to start a process that ends again and again."""

STEADY_SECONDS = 60.0
"""For how long a process must have served for its end not to be one more of a series."""

MARGIN_SECONDS = 5.0
"""That a process may take to end beyond its time of grace and that to shut down."""

logger = logging.getLogger("uvicorn.error")


class Worker(Process):
    """A process that serves, as its parent sees it and as it runs."""

    def __init__(self, config: uvicorn.Config, listening: socket.socket, grace_seconds: float) -> None:
        super().__init__(config, [listening])
        self._grace_seconds = grace_seconds

    @property
    def server(self) -> Server:
        """The server, in the process."""
        if not isinstance(self._server, Server):
            self._server = Server(self.config, self._grace_seconds, supervised=True)
        return self._server

    def start(self) -> None:
        """Start the process, in which SIGINT waits until there is a handler of it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

    def serves(self, patience: float) -> bool:
        """Whether it is there and has started, by its answer within so many seconds."""
        return self.process.is_alive() and self.is_ready(patience)

    def tell(self, sig: int) -> None:
        """Send a signal, if the process is still there to get it."""
        if self.exitcode is None and self.process.pid is not None:
            os.kill(self.process.pid, sig)

    def end(self, within: float) -> None:
        """Wait for it to end, and end it where that takes longer than so many seconds."""
        self.process.join(within)
        if self.exitcode is None:
            logger.error("Worker process [%s] does not end, and is killed", self.pid)
            self.kill()
            self.process.join()


@dataclass
class Place:
    """Where one process serves, and after it the next.

    Attributes:
        listening: its socket; None while nobody is to come here.
        worker: the process; None while none is.
        ready_since: when it was first seen to serve.
        ends: how many have ended one after another without having served for long.
        again_at: when to start the next.
    """

    listening: socket.socket | None
    worker: Worker | None = None
    ready_since: float | None = None
    ends: int = 0
    again_at: float = 0.0


class Processes(Multiprocess):
    """uvicorn's supervisor of worker processes, which gives a socket to each.

    Where all accept connections from one socket, whoever wakes up first takes most of them, and its callers wait for
    each other while the others idle. Over several sockets at one address the kernel spreads connections evenly
    (Linux, socket(7), SO_REUSEPORT). The parent keeps each socket open, so that connections which wait at that of a
    process that was killed are served by the next.

    A process that ends by itself is replaced: at once, or after a while where it ends again and again. Meanwhile its
    socket is closed, and connections go to the others. Where a process fails to start while no other serves, the
    service ends.

    Args:
        config: of uvicorn.
        sockets: one for each process.
        grace_seconds: that a process goes on accepting for after SIGTERM.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], grace_seconds: float) -> None:
        super().__init__(config, sockets)
        self._grace_seconds = grace_seconds
        self._address: tuple[str, int] = sockets[0].getsockname()[:2]
        self._places = [Place(own) for own in sockets]
        self._ended_by: int | None = None
        self._starting = False
        self.failed = False
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, self._end)

    def init_processes(self) -> None:
        """Start the processes."""
        for place in self._places:
            self._start(place)

    def keep_subprocess_alive(self) -> None:
        """Start processes anew that have died."""
        for place in self._places:
            if not self.should_exit.is_set() and self._ended_by is None:
                self._tend(place)

    def restart_all(self) -> None:
        """Replace each process by another, which serves before it ends."""
        for place in self._places:
            before, since = place.worker, place.ready_since
            if self._ended_by is not None:
                return
            if before is None or place.listening is None:
                continue
            self._start(place)
            if (
                self._ended_by is not None
                or place.worker is None
                or not place.worker.wait_until_ready(LONGEST_START, self.should_exit)
            ):
                if place.worker is not None:
                    self._bury(place.worker)
                place.worker, place.ready_since = before, since
                if self._ended_by is None:
                    logger.error("A new worker process does not start; [%s] and those after it stay", before.pid)
                return
            before.tell(signal.SIGTERM)
            before.end(self._longest_end)
            self._bury(before)

    def terminate_all(self) -> None:
        """Tell all processes to end; one that was told already ends no sooner."""
        for place in self._places:
            if place.worker is not None:
                place.worker.tell(self._ended_by or signal.SIGTERM)
        self._close()

    def join_all(self) -> None:
        """Wait until all processes have ended."""
        until = time.monotonic() + self._longest_end
        for place in self._places:
            if place.worker is not None:
                place.worker.end(max(0.0, until - time.monotonic()))

    def handle_int(self) -> None:
        """End."""
        self.should_exit.set()

    handle_term = handle_int

    def handle_ttin(self) -> None:
        """Start no further process: it would have no socket."""

    def handle_ttou(self) -> None:
        """Stop no process: its socket would stay, and nobody accept from it."""

    @property
    def _longest_end(self) -> float:
        return self._grace_seconds + (self.config.timeout_graceful_shutdown or 0) + MARGIN_SECONDS

    def _end(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal gives it)
        """Pass a signal on at once; the second ends all at once."""
        if self._ended_by is not None:
            for place in self._places:
                if place.worker is not None:
                    place.worker.process.kill()
            raise SystemExit(SIGNALLED + sig)
        self._ended_by = sig
        self.signal_queue.append(sig)
        logger.info("Stopping by %s", signal.Signals(sig).name)
        if not self._starting:  # else that comes first
            self.terminate_all()

    def _start(self, place: Place) -> None:
        """Start a process at a place."""
        self._starting = True
        try:
            if place.listening is None:
                place.listening = _bound(*self._address, shared=True)
            place.worker, place.ready_since = Worker(self.config, place.listening, self._grace_seconds), None
            place.worker.start()
        finally:
            self._starting = False

    def _tend(self, place: Place) -> None:
        """See that a process serves, or will."""
        worker, patience = place.worker, float(self.config.timeout_worker_healthcheck)
        if worker is None:
            if time.monotonic() >= place.again_at:
                self._try_to_start(place)
            return
        if worker.serves(patience):
            place.ready_since = place.ready_since or time.monotonic()
        elif not worker.is_alive(patience) and self._ended_by is None:
            self._bury(worker)
            place.worker = None
            others = [other.worker for other in self._places if other.worker is not None]
            if worker.exitcode == STARTUP_FAILURE and not any(other.serves(patience) for other in others):
                logger.error("Worker process [%s] failed to start", worker.pid)
                self.failed = True
                self.should_exit.set()
            else:
                self._replace(place, worker)

    def _replace(self, place: Place, worker: Worker) -> None:
        """Have another process started, now or later."""
        steady = place.ready_since is not None and time.monotonic() - place.ready_since > STEADY_SECONDS
        place.ends = 1 if steady else place.ends + 1
        delay = min(2.0 ** (place.ends - 2), LONGEST_DELAY) if place.ends > 1 else 0.0
        when = f"in {delay:g} s" if delay else "now"
        logger.error("Worker process [%s] %s; another is started %s", worker.pid, _how(worker.exitcode), when)
        place.ready_since, place.again_at = None, time.monotonic() + delay
        if not delay:
            self._try_to_start(place)
        elif place.listening is not None:
            place.listening.close()
            place.listening = None

    def _try_to_start(self, place: Place) -> None:
        """Start a process at a place, or later if the machine does not let one start now."""
        try:
            self._start(place)
        except OSError as error:
            logger.warning("No worker process can be started, and is again in %g s: %s", LONGEST_DELAY, error)
            place.worker, place.again_at = None, time.monotonic() + LONGEST_DELAY

    def _bury(self, worker: Worker) -> None:
        """Have what a process was serving counted no more, which is gone or to be killed; what it did still is."""
        worker.kill()
        worker.process.join()
        mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]

    def _close(self) -> None:
        """Close the sockets here, so that connections are refused once the processes have closed them."""
        for place in self._places:
            if place.listening is not None:
                place.listening.close()


def _how(exitcode: int | None) -> str:
    """How a process ended."""
    if exitcode is not None and exitcode < 0:
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"ended with status {exitcode}"


def serve(config: uvicorn.Config, grace_seconds: float) -> None:
    """Serve by as many processes as the configuration has workers, until a signal ends it.

    Raises:
        OSError: the address cannot be listened on.
        SystemExit: a process fails to start while no other serves; or a second signal ends all at once.
    """
    with _bound(config.host, config.port, shared=False) as alone:  # which fails where anybody listens already
        port: int = alone.getsockname()[1]
    sockets = [_bound(config.host, port, shared=True) for _ in range(config.workers)]
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "https" if config.is_ssl else "http"
    logger.info("Uvicorn running on %s://%s:%d (Press CTRL+C to quit)", scheme, host, port)
    processes = Processes(config, sockets, grace_seconds)
    processes.run()
    if processes.failed:
        sys.exit(STARTUP_FAILURE)


def _bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket at an address, which others may share with it or not."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as asyncio has it for a process alone
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.set_inheritable(True)
    return bound
