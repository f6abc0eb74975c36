"""Limits the size of bodies, and closes a connection whose request may still have an unread body."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.lengths import length
from service.errors import FieldError, TooLargeError

DRAINED = 256 * 2**20
"""Most bytes of a body over the limit that are read and thrown away before the request is refused."""


class BodyLimit:
    """Refuses a body over a limit, by its declared length or as soon as the body exceeds the limit.

    It stores no such body.

    Args:
        app: the application that reads the body.
        max_bytes: the most bytes of a body.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a body of limited size."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        expected, received = length(Headers(scope=scope).get("content-length", "")) or 0, 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if max(expected, received) <= self._max_bytes:
                return message
            # We read on, because a client that is still sending may see a broken connection instead of our answer.
            while message.get("more_body", False) and received <= DRAINED:
                message = await receive()
                received += len(message.get("body", b""))
            size = f"{max(expected, received):,} bytes or more"
            raise TooLargeError(FieldError("body", f"at most {self._max_bytes:,} bytes", size))

        await self._app(scope, bounded, send)


class UnreadBody:
    """Closes the connection after the answer to a request that expected `100 Continue` and did not get it.

    We cannot know whether the client sends the body anyway. If the connection stayed open, we could mistake the body
    for the next request, or the next request for the body (RFC 9110, section 10.1.1).

    Args:
        app: the application that answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and the answer back."""
        if scope["type"] != "http" or not any(name == b"expect" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        continued = False

        async def receive_body() -> Message:
            nonlocal continued
            continued = True
            return await receive()

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start" and not continued:
                message["headers"] = [*message.get("headers", []), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive_body, send_and_close)
