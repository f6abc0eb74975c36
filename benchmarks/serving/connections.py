"""The connections of the load generator: HTTP/1.1, and gRPC over HTTP/2 (RFC 9113).

A connection reads only as much of an answer as it needs to tell that the answer is complete, because the generator
shares the processors with the server under load.
"""

import asyncio
import struct
from abc import abstractmethod
from collections.abc import Iterable
from http import HTTPStatus
from typing import ClassVar, NamedTuple, Protocol, cast

import httptools

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 sends first (RFC 9113, section 3.4)."""

FRAME = struct.Struct("!BHBBI")
"""The head of a frame: its length in two parts, its type, its flags, and its stream (section 4.1)."""

DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
"""The types of frames that matter here (section 6)."""

END_STREAM, ACK, END_HEADERS = 1, 1, 4
"""Flags of frames."""

INITIAL_WINDOW_SIZE, LARGEST_WINDOW, USUAL_WINDOW = 4, 2**31 - 1, 2**16 - 1
"""The setting of the bytes that a server may send on a stream, its largest value, and the value for a connection."""

PREFIX = 5
"""The bytes before a gRPC message: whether it is compressed, and its length."""


class Call(NamedTuple):
    """A call in flight: the number of its request, and the parts of its answer so far."""

    number: int
    body: list[bytes]


class Listener(Protocol):
    """What a connection reports to."""

    def answered(self, connection: "Connection", number: int, status: int, body: bytes, *, keep: bool) -> None:
        """Take an answer. `keep` says whether the connection stays open."""

    def lost(self, connection: "Connection", numbers: Iterable[int]) -> None:
        """Take the end of a connection, with the numbers of its requests in flight."""


class Connection(asyncio.Protocol):
    """A connection.

    Args:
        listener: receives the answers, and the end of the connection.

    Attributes:
        most: the greatest number of requests in flight.
        idle_since: when the connection last had room for a request.
    """

    most: ClassVar[int] = 1

    def __init__(self, listener: Listener) -> None:
        self.idle_since = 0.0
        self._listener = listener
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport of the new connection."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop has its own class

    @abstractmethod
    def send(self, number: int, content: bytes) -> None:
        """Send a request."""

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


class HttpConnection(Connection):
    """A keep-alive connection of HTTP/1.1."""

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self._parser = httptools.HttpResponseParser(self)
        self._number: int | None = None
        self._body: list[bytes] = []

    def send(self, number: int, content: bytes) -> None:
        """Send a request."""
        self._number = number
        self._transport.write(content)

    def data_received(self, data: bytes) -> None:
        """Parse a part of an answer."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.abort()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Report the answer."""
        number, body = self._number, b"".join(self._body)
        self._number, self._body = None, []
        if number is None:
            self._transport.abort()  # an answer without a request
            return
        keep = self._parser.should_keep_alive()
        if not keep:
            self.close()
        self._listener.answered(self, number, self._parser.get_status_code(), body, keep=keep)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio passes it)
        """Report the end of the connection."""
        number, self._number = self._number, None
        self._listener.lost(self, () if number is None else (number,))


class RpcConnection(Connection):
    """A connection for one gRPC call at a time. The content of a request is the result of `rpc_frames`.

    The head of an answer is not read: a call has succeeded if its answer has a message. The server may send as much
    as it likes, so the connection never updates a window.
    """

    def __init__(self, listener: Listener) -> None:
        super().__init__(listener)
        self._stream = -1
        self._received = b""
        self._calls: dict[int, Call] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open HTTP/2."""
        super().connection_made(transport)
        settings = struct.pack("!HI", INITIAL_WINDOW_SIZE, LARGEST_WINDOW)
        window = struct.pack("!I", LARGEST_WINDOW - USUAL_WINDOW)
        self._transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, window))

    def send(self, number: int, content: bytes) -> None:
        """Send a call on the next stream."""
        self._stream += 2
        self._calls[self._stream] = Call(number, [])
        head, frames = content[1] * 256 + content[2], bytearray(content)
        for start in (0, FRAME.size + head):
            struct.pack_into("!I", frames, start + FRAME.size - 4, self._stream)
        self._transport.write(bytes(frames))

    def data_received(self, data: bytes) -> None:
        """Read whole frames, and keep the rest."""
        content, at = self._received + data, 0
        while at + FRAME.size <= len(content):
            high, low, kind, flags, stream = FRAME.unpack_from(content, at)
            end = at + FRAME.size + (high << 16) + low
            if end > len(content):
                break
            self._read(kind, flags, stream, content[at + FRAME.size : end])
            at = end
        self._received = content[at:]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio passes it)
        """Report the end of the connection."""
        self._listener.lost(self, [call.number for call in self._calls.values()])

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in {SETTINGS, PING} and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind in {RESET, GOAWAY}:
            self._transport.abort()
        elif kind == DATA:
            self._calls[stream].body.append(payload)
        elif kind == HEADERS and flags & END_STREAM:
            call = self._calls.pop(stream)
            message = b"".join(call.body)[PREFIX:]
            status = HTTPStatus.OK if message else HTTPStatus.INTERNAL_SERVER_ERROR
            self._listener.answered(self, call.number, status, message, keep=True)


class MultiplexedRpcConnection(RpcConnection):
    """A connection for many gRPC calls at a time, as the channel of most clients."""

    most = 32


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    high, low = divmod(len(payload), 1 << 16)
    return FRAME.pack(high, low, kind, flags, stream) + payload


def rpc_frames(path: str, host: str, message: bytes) -> bytes:
    """The frames of a gRPC call, on stream 0, with the message in a single frame (grpc, doc/PROTOCOL-HTTP2.md).

    The headers are written without Huffman's code and without the table that a connection keeps (RFC 7541, section
    6.2.2): `:method` POST and `:scheme` http are entries 3 and 6 of the static table, and the names `:path`,
    `:authority` and `content-type` are entries 4, 1 and 31.
    """
    texts = [(b"\x04", path), (b"\x01", host), (b"\x0f\x10", "application/grpc"), (b"\x00\x02te", "trailers")]
    head = b"\x83\x86" + b"".join(name + bytes([len(text)]) + text.encode() for name, text in texts)
    body = struct.pack("!BI", 0, len(message)) + message
    return frame(HEADERS, END_HEADERS, 0, head) + frame(DATA, END_STREAM, 0, body)
