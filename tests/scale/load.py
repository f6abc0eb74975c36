"""Callers that send digits through a proxy, and count what became of each request."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.digits import load_test_set
from tests.waiting import HANG, until

PIXELS = {"content-type": "application/octet-stream"}

THINKING = 0.02
"""Seconds that a caller waits between two requests, so that the callers leave processor time to the replicas."""

EASY = 20
"""Digits of the test set that every model here classifies correctly."""


class Result(Enum):
    """What became of a request."""

    answered = "answered"
    refused = "refused"
    lost = "lost"


class Request(NamedTuple):
    """A request that has ended.

    Attributes:
        result: what became of it.
        sent: when it was sent, by `time.monotonic`.
        ended: when the answer was complete or the connection broke.
        detail: the version that answered; or the status, or the error.
    """

    result: Result
    sent: float
    ended: float
    detail: str


@dataclass
class Caller:
    """Sends one digit after another over a connection that it keeps open.

    Attributes:
        host: the host and the port.
        path: the path, with the query.
        stop: ends the caller.
        requests: the requests that have ended.
    """

    host: str
    path: str
    stop: Event
    requests: list[Request] = field(default_factory=list)

    def run(self) -> None:
        """Send requests until `stop` is set."""
        connection = http.client.HTTPConnection(self.host, timeout=HANG)
        images, labels = load_test_set()
        while not self.stop.is_set():
            number = len(self.requests) % EASY
            sent = time.monotonic()
            try:
                connection.request("POST", self.path, images[number].tobytes(), PIXELS)
                answer = connection.getresponse()
                result, detail = classify(answer, answer.read(), int(labels[number]))
            except (OSError, http.client.HTTPException) as error:
                result, detail = Result.lost, repr(error)
                connection.close()
            self.requests.append(Request(result, sent, time.monotonic(), detail))
            self.stop.wait(THINKING)
        connection.close()


def classify(answer: http.client.HTTPResponse, content: bytes, label: int) -> tuple[Result, str]:
    """What an answer means. A refusal must say when to ask again, and an answer must have the right digit."""
    if answer.status == 200:
        body = json.loads(content)
        right = body["predictions"][0]["digit"] == label
        return (Result.answered, body["version"]) if right else (Result.lost, f"a wrong digit: {body}")
    if answer.status in {429, 503} and "retry-after" in answer.headers:
        return Result.refused, str(answer.status)
    return Result.lost, f"{answer.status} {content[:200]!r}"


@dataclass
class Load:
    """Several callers in threads."""

    callers: list[Caller]

    @property
    def requests(self) -> list[Request]:
        """The requests of all callers that have ended."""
        return [request for caller in self.callers for request in list(caller.requests)]

    def with_result(self, result: Result) -> list[Request]:
        """The requests with a result."""
        return [request for request in self.requests if request.result == result]

    def counts(self) -> dict[str, int]:
        """The number of requests by result."""
        return {each.value: len(self.with_result(each)) for each in Result}

    def go_on(self, more: int = 1) -> None:
        """Wait until each caller has ended this many more requests."""
        before = [len(caller.requests) for caller in self.callers]
        until(lambda: all(len(c.requests) >= n + more for c, n in zip(self.callers, before, strict=True)))


@contextmanager
def calling(url: str, callers: int = 8, path: str = "/predict") -> Iterator[Load]:
    """Start callers, and wait until each of them has an answer. At the end of the block, they have stopped."""
    stop = Event()
    load = Load([Caller(urlsplit(url).netloc, path, stop) for _ in range(callers)])
    threads = [Thread(target=caller.run) for caller in load.callers]
    for thread in threads:
        thread.start()
    try:
        load.go_on()
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(HANG)
            assert not thread.is_alive()
