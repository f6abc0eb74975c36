"""Callers over keep-alive connections. They know the right answers and record the result of each request."""

import http.client
import json
import select
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

from tests.digits import load_test_set
from tests.serving import Running
from tests.waiting import HANG, until

PIXELS = {"content-type": "application/octet-stream"}
THINKING = 0.01
"""Seconds that a caller waits between requests. So six callers leave the service time for swaps and restarts."""

EASY = 20
"""Digits of the test set that every model here classifies correctly."""


@dataclass
class Caller:
    """Sends one digit after another. Each request waits for the answer to the previous request.

    Attributes:
        port: the local port of the caller's connection.
        answers: the complete answers.
        lost: the requests that were sent completely and got no complete answer: the port, and the error.
        closed: how many answers announced that the connection closes.
    """

    url: str
    path: str
    stop: Event
    port: int = 0
    answers: list[dict[str, Any]] = field(default_factory=list)
    lost: list[tuple[int, str]] = field(default_factory=list)
    closed: int = 0

    def run(self) -> None:
        """Send requests until `stop` is set or the service no longer listens."""
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=HANG)
        images, labels = load_test_set()
        while not self.stop.is_set():
            number = len(self.answers) % EASY
            try:
                self.connect(connection)
            except ConnectionError:  # refused, or reset before the service accepted it
                return
            port = self.port
            try:
                connection.request("POST", self.path, images[number].tobytes(), PIXELS)
                answer = connection.getresponse()
                self.closed += answer.headers["connection"] == "close"
                body = json.loads(answer.read())
                assert (answer.status, body["predictions"][0]["digit"]) == (200, labels[number]), body
                self.answers.append(body)
                self.stop.wait(THINKING)
            except (OSError, http.client.HTTPException, AssertionError) as error:
                self.lost.append((port, repr(error)))
                connection.close()
        connection.close()

    def connect(self, connection: http.client.HTTPConnection) -> None:
        """Connect, unless there is a connection that the other side has not closed."""
        connected = connection.sock is not None
        if connected and select.select([connection.sock], [], [], 0)[0]:
            connection.close()
            connected = False
        if not connected:
            connection.connect()
            self.port = connection.sock.getsockname()[1]


@dataclass
class Callers:
    """Several callers in threads."""

    callers: list[Caller]
    threads: list[Thread]
    stop: Event

    @property
    def lost(self) -> list[tuple[int, str]]:
        return [lost for caller in self.callers for lost in caller.lost]

    def answered(self, more: int = 1) -> None:
        """Wait until each caller has received this many more answers."""
        before = [len(caller.answers) for caller in self.callers]
        until(lambda: all(len(c.answers) >= n + more for c, n in zip(self.callers, before, strict=True)))

    def versions(self) -> set[str]:
        """The version that answered the last request of each caller."""
        return {caller.answers[-1]["version"] for caller in self.callers}

    def end(self) -> None:
        """Wait until no caller sends requests any longer."""
        for thread in self.threads:
            thread.join(HANG)
            assert not thread.is_alive()


@contextmanager
def calling(service: Running, callers: int = 6, path: str = "/predict") -> Iterator[Callers]:
    """Start callers, and wait until each of them has received an answer."""
    stop = Event()
    started = [Caller(service.url, path, stop) for _ in range(callers)]
    all_of_them = Callers(started, [Thread(target=caller.run) for caller in started], stop)
    for thread in all_of_them.threads:
        thread.start()
    try:
        all_of_them.answered()
        yield all_of_them
    finally:
        stop.set()
        all_of_them.end()


def workers(service: Running) -> list[int]:
    """The processes that have started to serve, in the order of the log."""
    begun = [line.partition("Started server process [")[2] for line in service.log]
    return [int(rest.partition("]")[0]) for rest in begun if rest]


def descendants(process: int) -> list[int]:
    """The processes that a process has started, and those that they have started (Linux, proc(5))."""
    children = [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return [each for child in children for each in (child, *descendants(child))]


def ports_of(process: int) -> set[int]:
    """The ports of the callers that are connected to a process (Linux, proc(5))."""
    links = [str(path.readlink()) for path in Path("/proc", str(process), "fd").iterdir()]
    sockets = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:[")}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[2].partition(":")[2], 16) for row in rows if row[9] in sockets} - {0}
