"""The HTTP protocol of a connection: uvicorn's, with limits on slow clients and on bytes outside of bodies."""

import asyncio
import time
import weakref
from asyncio import TimerHandle
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import httptools
import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.server.request_head import RefusedError, check

CLOSE = (b"connection", b"close")

MOST_OVERHEAD = 64 * 1024
"""The greatest number of bytes outside the body of a request: request line, headers, and lines between the chunks."""

LONGEST_URL = 2**16 - 1
"""The greatest number of bytes of a URL that our parser accepts. It would call a longer one invalid."""

CONNECTION = "odenet.connection"
"""The key in the state of each scope under which the application finds a weak reference to the connection."""


BEGAN = "odenet.began"
"""The key in the state of each scope under which the application finds when the first byte of the request was read."""


class ServerConfig(uvicorn.Config):
    """uvicorn's configuration, with a time limit for clients and the port for gRPC.

    The address of a client is the address of its connection. Anybody can write a header such as X-Forwarded-For.

    Args:
        app: the application, or the name to import it from.
        client_seconds: time in which a client must send a whole request, and must take more of an answer.
        grpc_port: the port for gRPC; None for no gRPC.
        kwargs: the arguments of `uvicorn.Config`.
    """

    def __init__(self, app: Any, *, client_seconds: float, grpc_port: int | None = None, **kwargs: Any) -> None:
        super().__init__(app, http=HttpConnection, ws="none", proxy_headers=False, **kwargs)
        self.client_seconds = client_seconds
        self.grpc_port = grpc_port


class HttpConnection(HttpToolsProtocol):
    """Closes the connection of a client that is too slow. uvicorn itself limits only the time between two requests.

    The time for a request starts when the client connects, or with the first byte after an answer. A request that
    begins before this answer is complete has its time from then on, because the service may not read it before. A
    client that does not keep up with an answer has the same time, again and again, to take more of it.
    """

    config: ServerConfig
    _request_timer: TimerHandle | None = None
    _answer_timer: TimerHandle | None = None
    _answering: RequestResponseCycle | None = None
    _disconnect_calls: Sequence[Callable[[], object]] = ()
    _request_is_incomplete = False
    _overhead = 0
    _refusal: RefusedError | None = None

    def on_disconnect(self, call: Callable[[], object]) -> None:
        """Call a function once the caller of the present request has disconnected; at once if the caller already has.

        A task for each request that waits for the event ``http.disconnect`` would take more time.
        """
        if self._answering is not None and self._answering.disconnected:
            call()
        else:
            self._disconnect_calls = [*self._disconnect_calls, call]

    async def answer(self, status: int, head: bytes, content: bytes, *, close: bool) -> None:
        """Write the whole answer to the present request at once. uvicorn checks and copies each header by itself.

        Args:
            status: the status.
            head: the header lines, content-length included.
            content: the content, which is left out in the answer to HEAD.
            close: whether to close the connection after the answer.
        """
        cycle = self._answering
        if self.flow.write_paused and cycle is not None and not cycle.disconnected:
            await self.flow.drain()
        if cycle is None or cycle.disconnected:
            return
        headers = self.server_state.default_headers
        cycle.keep_alive = cycle.keep_alive and not close and CLOSE not in headers
        if not cycle.keep_alive and CLOSE not in headers:
            headers = [*headers, CLOSE]
        lines = [b"%b: %b\r\n" % header for header in headers]
        cycle.response_started = cycle.response_complete = True
        content = b"" if cycle.scope["method"] == "HEAD" else content
        self.transport.write(b"".join([STATUS_LINE[status], *lines, head, b"\r\n", content]))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self._close_after_body(cycle)
        cycle.on_response()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, CONNECTION: weakref.ref(self)}
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and tell the request that is being answered.

        uvicorn itself tells only the request that it has read last. This request may still wait behind another.
        """
        self._stop(self._request_timer)
        self._stop(self._answer_timer)
        if self._answering is not None:
            self._disconnect(self._answering)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read more of a request, and limit the bytes outside of its body."""
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._request_is_incomplete = True
        self._overhead += len(data)
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, RefusedError) else RefusedError("The request is not valid HTTP."))
            return
        if self._request_is_incomplete:
            self._await_request()
        if self._overhead > MOST_OVERHEAD:
            self._refuse(_overhead_error())

    def _parse(self, data: bytes) -> None:
        """Parse bytes, and ignore each header Upgrade (RFC 9110, section 7.8).

        The parser stops after the head of a request with such a header, and would not read the body. We therefore let
        another parser read the head again, without the header. The first parser may have read `Connection: close`, and
        would ignore everything after it.
        """
        rest: bytes | memoryview = data
        while rest:
            try:
                self.parser.feed_data(rest)
                rest = b""
            except httptools.HttpParserUpgrade as upgrade:
                rest = memoryview(data)[len(data) - len(rest) + upgrade.args[0] :]
                lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
                version = self.parser.get_http_version().encode()
                line = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn
                self.parser.feed_data(b"".join([line, *lines, b"\r\n"]))

    def on_message_begin(self) -> None:
        """Wait for the rest of a request, and note when its first byte was read."""
        super().on_message_begin()
        self.scope["state"][BEGAN] = time.perf_counter()
        self._request_is_incomplete = True

    def on_headers_complete(self) -> None:
        """Check the head of a request, and start to answer it.

        Raises:
            RefusedError: the head is not valid, or the connection closes. The parser stops.
        """
        if self.transport.is_closing():
            raise RefusedError("The connection closes.")
        if len(self.url) > LONGEST_URL:
            raise _overhead_error()
        check(self.parser.get_http_version(), self.headers)
        if not self.parser.should_upgrade():
            super().on_headers_complete()
        elif self.parser.get_method() == b"CONNECT":
            raise RefusedError("This server is not a proxy, and does not answer CONNECT.")

    def on_body(self, body: bytes) -> None:
        """Take a part of a body, which does not count as overhead."""
        self._overhead -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Stop waiting for a request that is complete."""
        if self.parser.should_upgrade():
            return  # only the head was read
        super().on_message_complete()
        self._overhead = 0
        self._request_is_incomplete = False
        self._stop(self._request_timer)
        self._request_timer = None
        cycle = self.cycle
        cycle.more_body = False  # uvicorn leaves this out if the answer is complete
        if cycle.response_complete and not cycle.keep_alive:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it has begun."""
        self._disconnect_calls = ()
        super().on_response_complete()
        if self._request_is_incomplete:
            self._unset_keepalive_if_required()
            self._await_request()
        if self._refusal is not None:
            self._send_refusal()
        self._limit_last_write()

    def pause_writing(self) -> None:
        """Wait for the client to take more of the answer."""
        super().pause_writing()
        self._answer_timer = self.loop.call_later(self.config.client_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on, because the client has taken more of the answer."""
        super().resume_writing()
        self._stop(self._answer_timer)
        self._limit_last_write()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client has not taken the whole last answer."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def _await_request(self) -> None:
        """Start the timer of the request, unless it is running or an earlier request is being answered."""
        cycle = self._answering
        is_next = cycle is None or cycle.response_complete or cycle.more_body
        if self._request_timer is None and is_next:
            self._request_timer = self.loop.call_later(self.config.client_seconds, self._time_out)

    def _time_out(self) -> None:
        """Give up a request that is not complete in time."""
        message = f"The request was not complete after {self.config.client_seconds:g} s."
        self._refuse(RefusedError(message, HTTPStatus.REQUEST_TIMEOUT))

    def _refuse(self, refusal: RefusedError) -> None:
        """Read no further request. Answer the complete requests, then send the refusal and close the connection."""
        if self._refusal is not None:
            return
        self._refusal = refusal
        if self.cycle is not None and self.cycle.more_body:  # the refused request has begun its body
            if self.pipeline:
                self.pipeline.popleft()  # the request that was read last
            else:
                self._disconnect(self.cycle)
        self._send_refusal()

    def _send_refusal(self) -> None:
        """Send the refusal and close the connection, unless an earlier request has no complete answer yet.

        If the answer to the refused request itself has begun, the connection is closed without a refusal.
        """
        cycle, refusal = self._answering, self._refusal
        if self.transport.is_closing() or refusal is None:
            return
        if cycle is not None and not cycle.response_complete and not cycle.disconnected:
            return
        if cycle is None or not (cycle.more_body and cycle.response_started):
            message = str(refusal)
            lines = ["content-type: text/plain; charset=utf-8", f"content-length: {len(message)}", "connection: close"]
            head = "".join(f"{line}\r\n" for line in lines)
            self.transport.write(STATUS_LINE[refusal.status] + f"{head}\r\n{message}".encode())
        self.transport.close()
        self._limit_last_write()

    def _close_after_body(self, cycle: RequestResponseCycle) -> None:
        """Close the connection after the rest of the body has arrived, or the time for the request is over.

        If the connection were closed before, a client that still sends could see a broken connection instead of the
        answer (RFC 9112, section 9.6). A client that waits for `100 Continue` does not send.
        """
        if not cycle.more_body or (cycle.waiting_for_100_continue and not cycle.body):
            self.transport.close()
        elif self.transport.can_write_eof():
            self.transport.write_eof()

    def _limit_last_write(self) -> None:
        """Limit the time in which a client takes the last bytes of a closing connection."""
        if self.transport.is_closing() and self.transport.get_write_buffer_size():
            self._stop(self._answer_timer)
            self._answer_timer = self.loop.call_later(self.config.client_seconds, self.transport.abort)

    def _disconnect(self, cycle: RequestResponseCycle) -> None:
        """Tell the application that the caller of the present request has disconnected."""
        cycle.disconnected = True
        cycle.message_event.set()
        calls, self._disconnect_calls = self._disconnect_calls, ()
        for call in calls:
            call()

    @staticmethod
    def _stop(timer: TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _overhead_error() -> RefusedError:
    """The refusal of a request with too many bytes outside of its body."""
    message = f"The limit is {MOST_OVERHEAD:,} bytes outside of the body."
    return RefusedError(message, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
