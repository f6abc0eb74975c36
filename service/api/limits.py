"""A bound on what a client may send, and what becomes of a body that nobody has read."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.lengths import length
from service.errors import FieldError, TooLargeError

DRAINED = 256 * 2**20
"""Bytes of a body that is too large which are read and thrown away before it is refused."""


class BodyLimit:
    """Refuses a body over a limit, by its declared length or when it has grown that long, without keeping it.

    Args:
        app: what reads the body.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a bounded body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        expected, received = length(Headers(scope=scope).get("content-length", "")) or 0, 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if max(expected, received) <= self._most:
                return message
            # A client that is still sending when it is answered may see a broken connection instead of the answer.
            while message.get("more_body", False) and received <= DRAINED:
                message = await receive()
                received += len(message.get("body", b""))
            told = f"{max(expected, received):,} bytes or more"
            raise TooLargeError(FieldError("body", f"at most {self._most:,} bytes", told))

        await self._app(scope, bounded, send)


class UnreadBody:
    """Closes the connection after an answer to a request that expected `100 Continue` and did not get it.

    Whether the client sends the body after all is not to be known, so that its next request could be taken for that
    (RFC 9110, section 10.1.1).

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back."""
        if scope["type"] != "http" or not any(name == b"expect" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        continued = False

        async def continuing() -> Message:
            nonlocal continued
            continued = True
            return await receive()

        async def closing(message: Message) -> None:
            if message["type"] == "http.response.start" and not continued:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, continuing, closing)
