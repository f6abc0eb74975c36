"""Connections whose clients may not keep the service waiting, nor have it keep what is no body."""

import asyncio
from asyncio import TimerHandle
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

MOST_OVERHEAD = 64 * 1024
"""Bytes of a request that are no body: its first line, its header, and what stands between the chunks of its body."""


class ServerConfig(uvicorn.Config):
    """What uvicorn serves by, and how long it waits for a client.

    Args:
        app: what answers, or where that is to be imported from.
        client_seconds: within which a client must have sent a request, and have taken some more of an answer.
        kwargs: as `uvicorn.Config` has them.
    """

    def __init__(self, app: Any, *, client_seconds: float, **kwargs: Any) -> None:
        super().__init__(app, http=Connection, ws="none", **kwargs)
        self.client_seconds = client_seconds


class Connection(HttpToolsProtocol):
    """Cuts a client off that is too slow: uvicorn itself waits forever, but for the next request.

    A client has a time to send a request, from when it has connected, or from the first byte after an answer; and as
    long, again and again, to take some of an answer that it does not keep up with.
    """

    config: ServerConfig
    _sending: TimerHandle | None = None
    _taking: TimerHandle | None = None
    _answered: RequestResponseCycle | None = None
    _overhead = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request."""
        super().connection_made(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        self._stop(self._sending)
        self._stop(self._taking)
        if self._answered is not None:  # uvicorn tells the request that was read last, which may wait behind it
            self._answered.disconnected = True
            self._answered.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._await_request()
        self._overhead += len(data)
        super().data_received(data)
        if self._overhead > MOST_OVERHEAD:
            self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"At most {MOST_OVERHEAD:,} bytes are no body.")

    def on_message_begin(self) -> None:
        """Wait for the rest of a request."""
        super().on_message_begin()
        self._await_request()

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Have a request whole."""
        super().on_message_complete()
        self._overhead = 0
        self._stop(self._sending)
        self._sending = None

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it has begun."""
        super().on_response_complete()
        if self._sending is not None:
            self._unset_keepalive_if_required()
        self._see_off()

    def pause_writing(self) -> None:
        """Wait for the client to take what was written."""
        super().pause_writing()
        self._taking = self.loop.call_later(self.config.client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, as it has."""
        super().resume_writing()
        self._stop(self._taking)
        self._see_off()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that idles, even where its client has not taken the last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _await_request(self) -> None:
        if self._sending is None:
            self._sending = self.loop.call_later(self.config.client_seconds, self._cut_off)

    def _cut_off(self) -> None:
        """Give a request up that is not whole yet."""
        message = f"The request was not whole after {self.config.client_seconds:g} s."
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, message)

    def _refuse(self, status: HTTPStatus, message: str) -> None:
        """Close the connection for what the client does, and say why, where it waits for an answer to that."""
        if self.transport.is_closing():
            return
        answered = self._answered
        if answered is not None and not answered.more_body and not answered.response_complete:
            answered.keep_alive = False  # the request before, whose answer is the last
            self.pipeline.clear()
            self.flow.pause_reading()
            return
        begun = answered is not None and answered.more_body and answered.response_started
        if not begun:
            lines = ["content-type: text/plain; charset=utf-8", f"content-length: {len(message)}", "connection: close"]
            head = "".join(f"{line}\r\n" for line in lines)
            self.transport.write(STATUS_LINE[status] + f"{head}\r\n{message}".encode())
        if answered is not None:
            answered.disconnected = True
            answered.message_event.set()
        self.transport.close()
        self._see_off()

    def _see_off(self) -> None:
        """Wait no longer for a client that does not take the last of what a closing connection has for it."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._stop(self._taking)
            self._taking = self.loop.call_later(self.config.client_seconds, self.transport.abort)

    @staticmethod
    def _stop(timer: TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()
