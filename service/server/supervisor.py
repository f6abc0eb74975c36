"""The supervisor: several worker processes that serve at one address."""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import spawn
from types import FrameType

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service.hosting.desired_state import DesiredState
from service.server.acceptor import ABSENT, Share
from service.server.graceful import SIGNALLED
from service.server.http_protocol import ServerConfig
from service.server.listening import bind
from service.server.shared_folder import shared_folder, sharing
from service.server.worker import Worker, forks
from service.telemetry.numbers import mark_dead

LONGEST_START = 120.0
"""Seconds in which a worker that replaces another must have loaded the models."""

LONGEST_DELAY = 60.0
"""Longest time, in seconds, between two attempts to start a worker that ends again and again."""

LONGEST_OUTAGE = 1.0
"""The same, while no other worker serves."""

STEADY_SECONDS = 60.0
"""If a worker has served for this many seconds, its end is the first of a new series of ends."""

MARGIN_SECONDS = 5.0
"""Seconds that a worker may take to end, beyond its grace time and its time to shut down."""

logger = logging.getLogger("uvicorn.error")


@dataclass
class WorkerSlot:
    """A place for one worker at a time.

    Attributes:
        worker: the worker; None while the slot is empty.
        ready_since: when the worker was first seen to serve.
        ends: the number of workers in a row that have ended without serving for long.
        retry_at: when to start the next worker.
    """

    worker: Worker | None = None
    ready_since: float | None = None
    ends: int = 0
    retry_at: float = 0.0


class Supervisor(Multiprocess):
    """uvicorn's supervisor of worker processes, which accept connections at one socket; see `Acceptor`.

    The supervisor keeps the socket open, so that connections wait there while no worker serves.

    A worker that ends by itself is replaced: at once, or after a delay if workers end again and again. If a worker
    fails to start and no other worker serves, the service ends. A worker that ends by itself before any worker has
    served counts as one that fails to start.

    Args:
        config: uvicorn's configuration.
        listener: the listening socket.
        grace_seconds: time for which a worker goes on accepting connections after SIGTERM.
    """

    config: ServerConfig

    def __init__(self, config: ServerConfig, listener: socket.socket, grace_seconds: float) -> None:
        super().__init__(config, [listener])
        self._listener = listener
        self._grace_seconds = grace_seconds
        self._slots = [WorkerSlot() for _ in range(config.workers)]
        self._stopped_by: int | None = None
        self._starting = self._has_served = False
        self.failed = False
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, self._handle_signal)
        places = config.workers + 1  # while a worker is replaced, the old and the new worker serve side by side
        self._connections = forks.RawArray("l", [ABSENT] * places)
        self._free_places = list(range(places))

    def init_processes(self) -> None:
        """Start the workers. If one cannot be started, the service ends."""
        for slot in self._slots:
            try:
                self._start(slot)
            except OSError as error:
                slot.worker = None
                self._fail(f"A worker process cannot be started: {_interpreter_fault() or error}")
                return

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that have ended."""
        for slot in self._slots:
            if not self.should_exit.is_set() and self._stopped_by is None:
                self._check(slot)

    def restart_all(self) -> None:
        """Replace the workers one after another. Each new worker serves before the old worker ends."""
        for slot in self._slots:
            if self._stopped_by is not None:
                return
            if slot.worker is not None and not self._restart(slot, slot.worker):
                return

    def _restart(self, slot: WorkerSlot, old: Worker) -> bool:
        """Replace a worker. If the new worker does not start, keep the old one and return False."""
        old_ready_since = slot.ready_since
        try:
            self._start(slot)
        except OSError as error:
            slot.worker, slot.ready_since = old, old_ready_since
            reason = _interpreter_fault() or error
            logger.warning("No worker process can be started; [%s] and those after it stay: %s", old.pid, reason)
            return False
        new = slot.worker
        if new is old:  # a signal has stopped the service in the meantime
            return False
        if self._stopped_by is None and new is not None and new.wait_until_ready(LONGEST_START, self.should_exit):
            old.send(signal.SIGTERM)
            old.end(self._longest_end)
            self._clean_up(old)
            return True
        if new is not None:
            self._clean_up(new)
        slot.worker, slot.ready_since = old, old_ready_since
        if self._stopped_by is None:
            logger.error("A new worker process does not start; [%s] and those after it stay", old.pid)
        return False

    def terminate_all(self) -> None:
        """Ask all workers to end. If a worker was asked before, it does not end sooner."""
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.send(self._stopped_by or signal.SIGTERM)
        self._listener.close()  # connections are refused once the workers have closed it too

    def join_all(self) -> None:
        """Wait until all workers have ended."""
        until = time.monotonic() + self._longest_end
        for slot in self._slots:
            if slot.worker is not None:
                slot.worker.end(max(0.0, until - time.monotonic()))

    def handle_int(self) -> None:
        """End the supervisor after SIGINT."""
        logger.info("Stopping by SIGINT")
        self.should_exit.set()

    def handle_term(self) -> None:
        """End the supervisor after SIGTERM."""
        logger.info("Stopping by SIGTERM")
        self.should_exit.set()

    def handle_ttin(self) -> None:
        """Do not start another worker: the number of workers is fixed."""

    def handle_ttou(self) -> None:
        """Do not stop a worker: the number of workers is fixed."""

    @property
    def _longest_end(self) -> float:
        """Seconds in which a worker must have ended."""
        return self._grace_seconds + (self.config.timeout_graceful_shutdown or 0) + MARGIN_SECONDS

    def _handle_signal(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal passes the frame)
        """Pass a signal on to the workers at once; at a second signal, kill all workers.

        The supervisor logs the signal later, because it may be writing to the log at this moment.
        """
        if self._stopped_by is not None:
            for slot in self._slots:
                if slot.worker is not None:
                    slot.worker.process.kill()
            raise SystemExit(SIGNALLED + sig)
        self._stopped_by = sig
        self.signal_queue.append(sig)
        if not self._starting:  # a start must finish first
            self.terminate_all()

    def _start(self, slot: WorkerSlot) -> None:
        """Start a worker in a slot, unless a signal has stopped the service."""
        self._starting = True
        try:
            if self._stopped_by is not None:  # the listening socket is closed
                return
            share = Share(self._connections, self._free_places[-1])
            slot.worker, slot.ready_since = Worker(self.config, self._listener, share, self._grace_seconds), None
            slot.worker.start()
            self._free_places.remove(share.place)
        finally:
            self._starting = False

    def _check(self, slot: WorkerSlot) -> None:
        """Check the worker of a slot, and replace it if it has ended."""
        worker = slot.worker
        if worker is None:
            if time.monotonic() >= slot.retry_at:
                self._try_to_start(slot)
            return
        state = worker.state()
        if state:
            slot.ready_since = slot.ready_since or time.monotonic()
            self._has_served = True
        elif state is None and self._stopped_by is None:
            self._clean_up(worker)
            slot.worker = None
            another_serves = any(other.worker is not None and other.worker.state() for other in self._slots)
            self._has_served = self._has_served or another_serves
            cannot_start = worker.exitcode == STARTUP_FAILURE or (
                not self._has_served and worker.exitcode is not None and worker.exitcode > 0
            )
            if cannot_start and not another_serves:
                self._fail(f"Worker process [{worker.pid}] failed to start: it {_describe(worker.exitcode)}")
            else:
                self._replace(slot, worker)

    def _replace(self, slot: WorkerSlot, worker: Worker) -> None:
        """Start another worker, at once or after a delay."""
        steady = slot.ready_since is not None and time.monotonic() - slot.ready_since > STEADY_SECONDS
        slot.ends = 1 if steady else slot.ends + 1
        delay = min(2.0 ** (slot.ends - 2), self._longest_delay()) if slot.ends > 1 else 0.0
        when = f"in {delay:g} s" if delay else "now"
        ended = ": ".join(filter(None, (_describe(worker.exitcode), _interpreter_fault())))
        logger.error("Worker process [%s] %s; another is started %s", worker.pid, ended, when)
        slot.ready_since, slot.retry_at = None, time.monotonic() + delay
        if not delay:
            self._try_to_start(slot)

    def _try_to_start(self, slot: WorkerSlot) -> None:
        """Start a worker in a slot; if the machine cannot start a process now, try again later."""
        try:
            self._start(slot)
        except OSError as error:
            slot.worker = None
            delay, reason = self._longest_delay(), _interpreter_fault() or error
            logger.warning("No worker process can be started; the next attempt is in %g s: %s", delay, reason)
            slot.retry_at = time.monotonic() + delay

    def _longest_delay(self) -> float:
        """The longest time between two attempts to start a worker."""
        lives = any(slot.worker is not None and slot.worker.process.is_alive() for slot in self._slots)
        return LONGEST_DELAY if lives else LONGEST_OUTAGE

    def _fail(self, reason: str) -> None:
        """End the service, because it cannot start."""
        logger.error(reason)
        self.failed = True
        self.should_exit.set()

    def _clean_up(self, worker: Worker) -> None:
        """Kill a worker if it still lives, and remove its gauges from the metrics. Its counters stay."""
        worker.kill()
        worker.process.join()
        worker.share.publish(ABSENT)
        self._free_places.append(worker.share.place)
        folder = shared_folder()
        if folder is not None and worker.pid is not None:
            try:
                mark_dead(folder, worker.pid)
            except OSError as error:
                logger.warning("The metrics keep the gauges of worker process [%s]: %s", worker.pid, error)


def _describe(exitcode: int | None) -> str:
    """How a worker ended."""
    if exitcode is not None and exitcode < 0:
        return f"was killed by {signal.Signals(-exitcode).name}"
    return f"ended with status {exitcode}"


def _interpreter_fault() -> str:
    """Why new processes cannot run the interpreter; empty if they can. Such a process ends without a reason in the log.

    New workers need no interpreter while the process that forks them lives.
    """
    interpreter = os.fsdecode(spawn.get_executable() or "")
    if os.access(interpreter, os.R_OK | os.X_OK):
        return ""
    return f"the Python interpreter '{interpreter}' is missing, or this user may not read and run it"


def serve(config: ServerConfig, grace_seconds: float, versions: Mapping[str, str]) -> None:
    """Serve by as many workers as the configuration says, until a signal ends the service.

    Args:
        config: uvicorn's configuration.
        grace_seconds: time for which a worker goes on accepting connections after SIGTERM.
        versions: the versions that should be served, by the models' names.

    Raises:
        OSError: another process listens at the address, or the address is not available, or the interpreter is
            missing.
        SystemExit: a worker failed to start and no other worker serves; or a second signal has killed all workers.
    """
    if fault := _interpreter_fault():
        raise OSError(fault)
    listener = bind(config.host, config.port)
    port = listener.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    scheme = "https" if config.is_ssl else "http"
    logger.info("Uvicorn running on %s://%s:%d (Press CTRL+C to quit)", scheme, host, port)
    supervisor = Supervisor(config, listener, grace_seconds)
    with sharing() as folder:  # the supervisor handles signals from here on, so none prevents the removal of the folder
        desired = DesiredState.shared(folder)
        for name, version in versions.items():
            desired.put(name, version)
        supervisor.run()
    if supervisor.failed:
        sys.exit(STARTUP_FAILURE)
