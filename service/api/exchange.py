"""An HTTP request and its answer, between the server and the application."""

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from service.api.lengths import length
from service.errors import FieldError, TooLargeError
from service.inference import callers
from service.inference.data_plane import Arrival

TRACED = "fastapi.telemetry"
"""A key of the scope. FastAPI sets it for the requests that it traces."""

CONNECTION = "odenet.connection"
"""A key of the scope's `state`. Under this key, our server stores a weak reference to its connection."""

BEGAN = "odenet.began"
"""A key of the scope's `state`. Under this key, our server stores when it read the first byte of the request, by
`time.perf_counter`."""

EXCHANGE = "odenet.exchange"
"""A key of the scope. If FastAPI routes the request, the exchange is stored under this key."""

DOCUMENT_ID = "odenet.document_id"
"""The key in the scope of the id that the JSON of a request gives to the request."""

ID_HEADER = b"x-request-id"

LOAD_FORMAT = b"endpoint-load-metrics-format"
"""With this header, the caller asks for a report of the load, and names the format."""

Headers = list[tuple[bytes, bytes]]

ReportLoad = Callable[[str], Headers]
"""Returns the headers that report the load in a format; see `service.telemetry.load`."""


class Connection(Protocol):
    """What our server offers beyond ASGI; see `service.server.http_protocol`."""

    def on_disconnect(self, call: Callable[[], object], /) -> None:
        """Call a function once the caller has disconnected; at once if the caller already has."""

    async def answer(self, status: int, head: bytes, content: bytes, /, *, close: bool) -> None:
        """Write a whole answer. `head` holds the encoded headers. If `close` is true, then close the connection."""


class Answer(NamedTuple):
    """An answer whose content is complete."""

    status: int
    headers: Headers
    content: bytes

    async def send(self, send: Send) -> None:
        """Send the answer."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.content})


def encode(fields: Headers) -> bytes:
    """Headers as bytes, one line for each header."""
    return b"".join([b"%b: %b\r\n" % field for field in fields])


class MoreHeaders:
    """The headers that each answer gets unless it has them.

    Attributes:
        fields: the names and values of the headers.
        encoded: the same fields as bytes, one line for each header.
        report_load: reports the load to the callers that ask.
    """

    def __init__(self, fields: Headers, report_load: ReportLoad) -> None:
        self.fields = fields
        self.encoded = encode(fields)
        self.report_load = report_load


class Exchange(Request):
    """A request and its answer: the request has a limit for its body, and the answer gets more headers.

    The request is refused at once if the declared or the received length of the body exceeds the limit. No more of the
    body than the limit is kept in memory. The server discards what arrives after the refusal.

    If the request expects `100 Continue` and the application does not read the body, the answer closes the connection.
    We cannot know whether the client sends the body anyway. If the connection stayed open, we could mistake the body
    for the next request, or the next request for the body (RFC 9110, section 10.1.1).

    Args:
        scope: the ASGI scope of the request.
        receive: receives the parts of the body from the server.
        send: sends the parts of the answer to the server.
        max_body_bytes: the greatest number of bytes that the body may have.
        headers: the headers that an answer gets unless it has them.

    Attributes:
        id: the id of the request, which the answer repeats.
        status: the status of the answer; 500 before the answer begins.
        request_headers: the first value of each header of the request.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, max_body_bytes: int, headers: MoreHeaders) -> None:
        super().__init__(scope, receive, send)
        self.status = 500
        self.id = ""
        self.request_headers = dict(reversed(scope["headers"]))
        self._max_body_bytes = max_body_bytes
        self._expected = length(self.first(b"content-length")) or 0
        self._received = 0
        self._more_headers = headers
        self._may_have_unread_body = b"expect" in self.request_headers
        self._start: Message | None = None
        state = scope.get("state", {})
        self._connection: Connection | None = state.get(CONNECTION, _no_connection)()
        self._began = state.get(BEGAN) or time.perf_counter()

    def first(self, name: bytes) -> str:
        """The first value of a header; empty if the request does not have the header."""
        value: bytes = self.request_headers.get(name, b"")
        return value.decode("latin-1")

    def joined(self, name: bytes) -> str | None:
        """The values of a header, joined into one text; None if the request does not have the header."""
        if name not in self.request_headers:
            return None
        return ", ".join(value.decode("latin-1") for each, value in self.scope["headers"] if each == name)

    @property
    def caller(self) -> str:
        """Who asks: the name of the API key, or else the network of the client."""
        client = self.scope.get("client")
        return callers.caller(client[0] if client else "")

    def arrival(self, kind: str) -> Arrival:
        """The arrival of the request, whose body has just been read.

        Args:
            kind: the kind of body and answer.
        """
        return Arrival(self.caller, kind, self._began, time.perf_counter(), self.on_disconnect)

    @property
    def flow(self) -> str:
        """The requests with which this one shares its turns in the background threads."""
        return callers.flow(self.caller, self._received)

    def on_disconnect(self, call: Callable[[], object]) -> None:
        """Call a function once the caller has disconnected. Only our own server reports this."""
        if self._connection is not None:
            self._connection.on_disconnect(call)

    async def body(self) -> bytes:
        """Read the whole body. Call this method only once.

        Raises:
            TooLargeError: the body is too large.
            ClientDisconnect: the caller disconnected before the end of the body.
        """
        parts = []
        more = True
        while more:
            message = await self.receive_limited()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            parts.append(message.get("body", b""))
            more = message.get("more_body", False)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def receive_limited(self) -> Message:
        """Receive the next part of the body.

        Raises:
            TooLargeError: the body is too large.
        """
        if self._expected > self._max_body_bytes:
            raise self._too_large(f"{self._expected:,} bytes")
        self._may_have_unread_body = False
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._received > self._max_body_bytes:
            raise self._too_large(f"{self._received:,} bytes or more")
        return message

    def _too_large(self, size: str) -> TooLargeError:
        """The refusal of a body of this size."""
        return TooLargeError(FieldError("body", f"at most {self._max_body_bytes:,} bytes", size))

    async def send(self, message: Message) -> None:
        """Send a part of the answer. The first part gets the missing headers.

        The first part waits for the second. If the two are the whole answer, our server writes them at once. Unlike
        uvicorn, it then closes the connection only after the client has sent the whole body of the request. A traced
        answer goes through uvicorn, because FastAPI's tracing must see its parts.
        """
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            own = {name for name, _ in headers}
            more = (each for each in self._more_headers.fields if each[0] not in own)
            self._start = {**message, "headers": [*headers, *more, (ID_HEADER, self.id.encode())]}
            if LOAD_FORMAT in self.request_headers:
                self._start["headers"] += self._load_report()
            return
        start, self._start = self._start, None
        close = self._may_have_unread_body
        if start is None:
            await self._send(message)
        elif self._connection is None or TRACED in self.scope or message.get("more_body", False):
            if close:
                start["headers"].append((b"connection", b"close"))
            await self._send(start)
            await self._send(message)
        else:
            head = encode(start["headers"])
            await self._connection.answer(self.status, head, message.get("body", b""), close=close)

    async def answer(self, answer: Answer) -> None:
        """Send a whole answer, and add our headers. The answer must not contain any of these headers."""
        if self._connection is None or TRACED in self.scope:
            await answer.send(self.send)
            return
        self.status = answer.status
        head = encode(answer.headers)
        head += b"%b%b: %b\r\n" % (self._more_headers.encoded, ID_HEADER, self.id.encode())
        if LOAD_FORMAT in self.request_headers:
            head += encode(self._load_report())
        await self._connection.answer(answer.status, head, answer.content, close=self._may_have_unread_body)

    def _load_report(self) -> Headers:
        """The report of the load that the caller asks for."""
        return self._more_headers.report_load(self.first(LOAD_FORMAT))


def _no_connection() -> None:
    """Stands in for the weak reference to the connection, if another server runs the application. Returns None."""
