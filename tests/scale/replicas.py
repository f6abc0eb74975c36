"""Replicas of the service on this machine, each at a port of its own, and HAProxy before them."""

import os
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import httpx
import pytest

from benchmarks.serving.balancer import METRICS_ADDRESS, haproxy, program
from benchmarks.serving.plan import HOST
from benchmarks.serving.servers import free_port, running
from tests.forking import ForkedService
from tests.serving import fork
from tests.waiting import HANG, until


class Replica:
    """A service of one process that starts, ends and starts again at the same port.

    Args:
        flags: the flags of the service.
        settings: its settings in the environment.
    """

    def __init__(self, flags: Sequence[str], **settings: str) -> None:
        self.port = free_port()
        self._flags = (*flags, "--port", str(self.port))
        self._settings = {"ODENET_WORKERS": "1"} | settings
        self.start()

    @property
    def url(self) -> str:
        """The URL of the service."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the service, and wait until it is ready."""
        self.process: ForkedService = fork(*self._flags, **self._settings)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        until(self._is_ready)

    def _read(self) -> None:
        """Read the log, so that the pipe never fills."""
        with self.process.stderr as stderr:
            for _ in stderr:
                pass

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/ready", timeout=HANG).is_success
        except httpx.TransportError:
            return False

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal, wait for the end of the service, and return its exit status."""
        self.process.send_signal(sig)
        status = self.process.wait(HANG)
        self._reader.join(HANG)
        return status


@contextmanager
def running_replicas(number: int, *flags: str, **settings: str) -> Iterator[list[Replica]]:
    """Run some replicas, and stop those that still run at the end of the block."""
    with ExitStack() as stack:
        replicas = []
        for _ in range(number):
            replicas.append(Replica(flags, **settings))
            stack.callback(replicas[-1].stop)
        yield replicas


@dataclass
class Balancer:
    """HAProxy.

    Attributes:
        url: its URL for requests.
        metrics_url: the URL of its metrics.
    """

    url: str
    metrics_url: str

    def up(self) -> set[str]:
        """The replicas to which HAProxy sends requests."""
        metrics = httpx.get(self.metrics_url, timeout=HANG).text
        pattern = r'^haproxy_server_status\{proxy="replicas",server="(\w+)",state="UP"\} 1$'
        return set(re.findall(pattern, metrics, re.MULTILINE))

    def sent(self) -> dict[str, int]:
        """The number of requests that HAProxy has sent to each replica."""
        metrics = httpx.get(self.metrics_url, timeout=HANG).text
        pattern = r'^haproxy_server_sessions_total\{proxy="replicas",server="(\w+)"\} (\d+)$'
        return {name: int(count) for name, count in re.findall(pattern, metrics, re.MULTILINE)}


@contextmanager
def balancing(replicas: Sequence[Replica], folder: Path) -> Iterator[Balancer]:
    """Run HAProxy with the configuration that ships, before some replicas.

    Args:
        replicas: the replicas. HAProxy calls them replica1, replica2 and so on.
        folder: the folder for the list of the replicas.
    """
    if program() is None:
        assert not os.environ.get("CI"), "HAProxy is not installed (Debian: apt-get install haproxy)"
        pytest.skip("HAProxy is not installed")
    command = haproxy([replica.port for replica in replicas], folder)
    with running(command) as server:
        metrics = command.environment[METRICS_ADDRESS]
        balancer = Balancer(f"http://{HOST}:{server.port}", f"http://{metrics}/metrics")
        until(lambda: len(balancer.up()) == len(replicas))
        yield balancer
