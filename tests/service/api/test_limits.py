"""What is refused before it is kept: a body over the limit, and whatever has no room in the queue."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from service.api.body import JSON, PIXELS
from service.api.limits import DRAINED, BodyLimit
from service.app import create_app
from service.engine.admission import Admission
from service.engine.request import Priority
from service.errors import TooLargeError
from service.settings import Settings
from tests.artifacts import MLP, put

MOST = 100
QUEUE_ROWS = 8

Chunks = list[bytes]


class Exchange:
    """A request whose body comes in chunks, and what became of it.

    Attributes:
        given: chunks that were taken from the client.
        read: chunks that reached the application.
    """

    def __init__(self, chunks: Iterable[bytes], headers: dict[str, str]) -> None:
        self._chunks = iter(chunks)
        self._next = next(self._chunks, b"")
        self.scope = {
            "type": "http",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        self.given = 0
        self.read: Chunks = []

    async def receive(self) -> Message:
        chunk, following = self._next, next(self._chunks, None)
        self._next = following or b""
        self.given += 1
        return {"type": "http.request", "body": chunk, "more_body": following is not None}

    async def send(self, message: Message) -> None:
        raise AssertionError("nothing is answered here")

    async def app(self, scope: Any, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """Read the body whole."""
        assert scope is self.scope
        async for chunk in self._body(receive):
            self.read.append(chunk)

    async def _body(self, receive: Callable[[], Awaitable[Message]]) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            yield message["body"]

    def run(self) -> None:
        asyncio.run(BodyLimit(self.app, MOST)(self.scope, self.receive, self.send))


def exchange(*chunks: bytes, **headers: str) -> Exchange:
    return Exchange(chunks, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(asked: Exchange) -> TooLargeError:
    with pytest.raises(TooLargeError, match="body: at most 100 bytes") as caught:
        asked.run()
    return caught.value


@pytest.mark.parametrize("chunks", [[], [b""], [bytes(MOST)], [bytes(60), bytes(40)], [b"x"] * MOST])
def test_a_body_within_the_limit_is_passed_on_as_it_comes(chunks: Chunks) -> None:
    for headers in ({}, {"content_length": str(sum(map(len, chunks)))}):
        asked = exchange(*chunks, **headers)
        asked.run()
        assert asked.read == (chunks or [b""])


def test_a_body_that_is_declared_too_long_is_drained_and_not_kept() -> None:
    asked = exchange(*[bytes(50)] * 4, content_length="200")
    assert refused(asked).errors[0].value == "200 bytes or more"
    assert (asked.given, asked.read) == (4, [])


def test_a_body_that_grows_too_long_is_refused_where_it_does() -> None:
    asked = exchange(bytes(60), bytes(40), b"7", bytes(9))
    assert refused(asked).errors[0].value == "110 bytes or more"
    assert (asked.given, asked.read) == (4, [bytes(60), bytes(40)])


def test_a_body_that_is_longer_than_it_declares_is_refused_all_the_same() -> None:
    assert refused(exchange(bytes(60), bytes(60), content_length="10")).errors[0].value == "120 bytes or more"


@pytest.mark.parametrize("length", ["", "-1", "many", "1e9", "0x100", "9 9", "²", "9" * 19, "9" * 5_000])
def test_a_declared_length_that_is_none_is_not_gone_by(length: str) -> None:
    asked = exchange(b"seven", content_length=length)
    asked.run()
    assert asked.read == [b"seven"]
    refused(exchange(bytes(MOST + 1), content_length=length))


def test_a_body_without_end_is_drained_no_further_than_to_a_bound() -> None:
    chunk = bytes(2**20)

    def endless() -> Iterable[bytes]:
        while True:
            yield chunk

    asked = Exchange(endless(), {})
    refused(asked)
    assert asked.given == DRAINED // len(chunk) + 1
    assert asked.read == []


def test_what_is_no_request_is_passed_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append((scope, receive, send))

    passed: list[Any] = []
    asked = exchange()
    lifespan = {"type": "lifespan"}
    asyncio.run(BodyLimit(app, MOST)(lifespan, asked.receive, asked.send))
    assert passed == [(lifespan, asked.receive, asked.send)]


# Room in the queue.


class Full:
    """The service with a queue that is full at the normal priority."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self.admission: Admission = app.state.engine.admission
        self.admission.seconds_per_row = 1.5

    def asked(self, path: str = "/predict", method: str = "POST", query: str = "", **headers: str) -> Message | None:
        """The start of the answer to a request; None if its body is asked for first."""
        return asyncio.run(self._asked(path, method, query, headers))

    async def _asked(self, path: str, method: str, query: str, headers: dict[str, str]) -> Message | None:
        told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": told,
            "server": ("here", 80),
            "client": ("here", 1),
        }
        sent: list[Message] = []

        async def read() -> Message:
            raise Unread

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(scope, read, send)
        except Unread:
            return None
        return sent[0]

    def status(self, **asked: str) -> int | None:
        start = self.asked(**asked)
        return None if start is None else start["status"]


class Unread(BaseException):
    """The body is asked for: there was room."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = tmp_path_factory.mktemp("models")
    put(folder, "default", "1", MLP)
    return create_app(Settings(models=folder, model="default", queue_rows=QUEUE_ROWS, max_images=QUEUE_ROWS))


@pytest.fixture
def full(app: FastAPI) -> Iterator[Full]:
    full = Full(app)
    full.admission.enter(QUEUE_ROWS, Priority.normal)
    yield full
    full.admission.leave(full.admission.waiting(Priority.high), Priority.high)
    full.admission.leave(full.admission.waiting(), Priority.normal)


def test_what_has_no_room_is_refused_unread_and_told_when_to_ask_again(full: Full) -> None:
    start = full.asked()
    assert start is not None
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert headers[b"retry-after"] == b"12"
    assert headers[b"content-type"] == b"application/problem+json"


def test_what_might_be_of_any_priority_is_refused_unread_where_the_highest_has_no_room(full: Full) -> None:
    assert full.asked("/v2/models/default/infer") is None
    full.admission.enter(QUEUE_ROWS, Priority.high)
    start = full.asked("/v2/models/default/infer")
    assert start is not None
    headers = dict(start["headers"])
    assert (start["status"], headers[b"content-type"]) == (429, b"application/json")
    assert b"retry-after" in headers


@pytest.mark.parametrize(("path", "method", "status"), [("/health/live", "GET", 200), ("/models", "GET", 200)])
def test_what_the_engine_does_not_compute_is_answered(full: Full, path: str, method: str, status: int) -> None:
    assert full.status(path=path, method=method) == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 429),
        ("priority=normal", 429),
        ("priority=low", 429),
        ("priority=high", None),
        ("tolerance=1&priority=high", None),
    ],
)
def test_the_priority_counts_before_the_body_is_read(full: Full, query: str, status: int | None) -> None:
    assert full.status(query=query, content_type=PIXELS) == status


def test_a_list_for_which_there_is_no_room_is_refused_by_its_length_alone(full: Full) -> None:
    full.admission.leave(4, Priority.normal)
    told = {rows: full.status(content_type=PIXELS, content_length=str(784 * rows)) for rows in (1, 4, 5)}
    assert told == {1: None, 4: None, 5: 429}


@pytest.mark.parametrize("content_type", [JSON, "image/png"])
def test_a_body_whose_length_says_nothing_of_its_images_is_read(full: Full, content_type: str) -> None:
    full.admission.leave(4, Priority.normal)
    assert full.status(content_type=content_type, content_length="100000") is None


def test_as_soon_as_there_is_room_it_is_read(full: Full) -> None:
    full.admission.leave(1, Priority.normal)
    assert full.status(content_type=PIXELS) is None
