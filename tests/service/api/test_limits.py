"""Requests that are refused before their body is stored: the body is over the limit, or the queue has no room."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

from service.api.body import JSON, PIXELS
from service.api.errors import ErrorAnswers
from service.api.exchange import Exchange, MoreHeaders
from service.api.gateway import Gateway
from service.api.problems import problem_response
from service.app import create_app
from service.engine.plan import SolverFields
from service.engine.request import Demand, Priority
from service.errors import TooLargeError
from service.inference.data_plane import DataPlane
from service.settings import Settings
from service.telemetry.metrics import Metrics
from tests.artifacts import MLP, put

MOST = 100
QUEUE_SECONDS = 0.5

Chunks = list[bytes]


class Upload:
    """A request whose body arrives in chunks.

    Attributes:
        received: how many chunks were taken from the client.
        read: the chunks that reached the application.
    """

    def __init__(self, chunks: Iterable[bytes], headers: dict[str, str]) -> None:
        self._chunks = iter(chunks)
        self._next = next(self._chunks, b"")
        self.scope = {
            "type": "http",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        }
        self.received = 0
        self.read: Chunks = []

    async def receive(self) -> Message:
        chunk, following = self._next, next(self._chunks, None)
        self._next = following or b""
        self.received += 1
        return {"type": "http.request", "body": chunk, "more_body": following is not None}

    async def send(self, message: Message) -> None:
        raise AssertionError("these requests get no answer")

    async def app(self, scope: Any, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        """Read the whole body."""
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
        exchange = Exchange(self.scope, self.receive, self.send, MOST, MoreHeaders([], lambda _: []))
        asyncio.run(self.app(self.scope, exchange.receive_limited, exchange.send))


def upload(*chunks: bytes, **headers: str) -> Upload:
    return Upload(chunks, {name.replace("_", "-"): value for name, value in headers.items()})


def refused(request: Upload) -> TooLargeError:
    with pytest.raises(TooLargeError, match="body: at most 100 bytes") as caught:
        request.run()
    return caught.value


@pytest.mark.parametrize("chunks", [[], [b""], [bytes(MOST)], [bytes(60), bytes(40)], [b"x"] * MOST])
def test_a_body_within_the_limit_is_passed_on_unchanged(chunks: Chunks) -> None:
    for headers in ({}, {"content_length": str(sum(map(len, chunks)))}):
        request = upload(*chunks, **headers)
        request.run()
        assert request.read == (chunks or [b""])


def test_a_body_with_a_declared_length_over_the_limit_is_refused_before_it_arrives() -> None:
    request = upload(*[bytes(50)] * 4, content_length="200")
    assert refused(request).errors[0].value == "200 bytes"
    assert (request.received, request.read) == (0, [])


def test_a_body_is_refused_when_it_exceeds_the_limit() -> None:
    request = upload(bytes(60), bytes(40), b"7", bytes(9))
    assert refused(request).errors[0].value == "101 bytes or more"
    assert (request.received, request.read) == (3, [bytes(60), bytes(40)])


def test_a_body_that_is_longer_than_its_declared_length_is_refused() -> None:
    assert refused(upload(bytes(60), bytes(60), content_length="10")).errors[0].value == "120 bytes or more"


@pytest.mark.parametrize("length", ["", "-1", "many", "1e9", "0x100", "9 9", "²", "9" * 19, "9" * 5_000])
def test_an_invalid_declared_length_is_ignored(length: str) -> None:
    request = upload(b"seven", content_length=length)
    request.run()
    assert request.read == [b"seven"]
    refused(upload(bytes(MOST + 1), content_length=length))


def test_events_other_than_requests_are_passed_on() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append((scope, receive, send))

    passed: list[Any] = []
    request = upload()
    lifespan = {"type": "lifespan"}
    answers = ErrorAnswers({}, problem_response, lambda _: None)
    gateway = Gateway(app, [], answers, Metrics(), None, MOST, [], lambda _: [])
    asyncio.run(gateway(lifespan, request.receive, request.send))
    assert passed == [(lifespan, request.receive, request.send)]


# Room in the queue.


CALLER = "here"


class Full:
    """The service with a queue that is full for the requests of one caller.

    Attributes:
        admission: the admission to its queue.
    """

    def __init__(self, app: FastAPI, plane: DataPlane) -> None:
        self._app = app
        self._model = asyncio.run(plane.models.get(None))
        self._entered: list[Demand] = []
        self.admission = plane.engine.admission

    def fill(self, rows: int = 1, priority: Priority = Priority.normal, caller: str = CALLER) -> None:
        """Queue requests until the next one is refused. The queue moves slowly, so few requests fill it."""
        self.admission.pace = 500.0
        demand = Demand.of(self._model, self._model.plan(SolverFields(), 0.99), rows, priority, caller)
        while self.admission.wait(demand) <= QUEUE_SECONDS:
            self.admission.enter(demand)
            self._entered.append(demand)

    def clear(self) -> None:
        """Take all requests out of the queue."""
        while self._entered:
            demand = self._entered.pop()
            self.admission.leave(demand, demand.rows, first=True)

    def answer(self, path: str = "/predict", method: str = "POST", query: str = "", **headers: str) -> Message | None:
        """The start of the answer to a request; None if the service reads the body first."""
        return asyncio.run(self._answer(path, method, query, headers))

    async def _answer(self, path: str, method: str, query: str, headers: dict[str, str]) -> Message | None:
        raw_headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": raw_headers,
            "server": ("here", 80),
            "client": (CALLER, 1),
        }
        sent: list[Message] = []

        async def receive() -> Message:
            raise BodyRequestedError

        async def send(message: Message) -> None:
            sent.append(message)

        try:
            await self._app(scope, receive, send)
        except BodyRequestedError:
            return None
        return sent[0]

    def status(self, **request: str) -> int | None:
        start = self.answer(**request)
        return None if start is None else start["status"]


class BodyRequestedError(BaseException):
    """The service reads the body, so the queue had room."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = tmp_path_factory.mktemp("models")
    put(folder, "default", "1", MLP)
    return create_app(Settings(models=folder, model="default", queue_seconds=QUEUE_SECONDS))


async def data_plane(app: FastAPI) -> DataPlane:
    """The data plane of an application."""
    async with app.router.lifespan_context(app) as state:
        assert state is not None
        plane: DataPlane = state["plane"]
        return plane


@pytest.fixture
def full(app: FastAPI) -> Iterator[Full]:
    full = Full(app, asyncio.run(data_plane(app)))
    full.fill()
    yield full
    full.clear()


def test_without_room_a_request_is_refused_before_its_body_is_read_with_a_retry_time(full: Full) -> None:
    start = full.answer(content_type=PIXELS)
    assert start is not None
    headers = dict(start["headers"])
    assert start["status"] == 429
    assert headers[b"retry-after"] == b"1"
    assert headers[b"content-type"] == b"application/problem+json"


@pytest.mark.parametrize(("path", "content_type"), [("/v2/models/default/infer", PIXELS), ("/predict", JSON)])
def test_a_body_that_may_name_the_model_and_the_settings_is_read(full: Full, path: str, content_type: str) -> None:
    assert full.answer(path, content_type=content_type, content_length="100000") is None


def test_a_caller_who_fills_the_queue_keeps_no_other_caller_out(full: Full) -> None:
    full.clear()
    full.fill(caller="there")
    assert full.status(content_type=PIXELS) is None


@pytest.mark.parametrize(("path", "method", "status"), [("/health/live", "GET", 200), ("/models", "GET", 200)])
def test_a_full_queue_does_not_affect_other_routes(full: Full, path: str, method: str, status: int) -> None:
    assert full.status(path=path, method=method) == status


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 429),
        ("priority=normal", 429),
        ("priority=low", 429),
        ("priority=high", None),
        ("tolerance=1&priority=high", 422),
    ],
)
def test_the_priority_in_the_query_is_used_before_the_body_is_read(full: Full, query: str, status: int | None) -> None:
    assert full.status(query=query, content_type=PIXELS) == status


def test_a_long_request_is_refused_by_its_declared_length_and_a_short_one_has_its_turn(full: Full) -> None:
    full.clear()
    full.fill(rows=16)
    statuses = {rows: full.status(content_type=PIXELS, content_length=str(784 * rows)) for rows in (1, 16)}
    assert statuses == {1: None, 16: 429}


def test_a_body_is_read_as_soon_as_the_queue_has_room(full: Full) -> None:
    full.admission.pace = 1.0
    assert full.status(content_type=PIXELS) is None
