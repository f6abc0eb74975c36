"""Bounds on what a client may send."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import FieldError, TooLargeError


class BodyLimit:
    """Refuses a body over a limit: at once where its length is declared, else when it has grown that long.

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
        declared = Headers(scope=scope).get("content-length", "")
        expected, received = int(declared) if declared.isdecimal() else 0, 0

        async def bounded() -> Message:
            nonlocal received
            self._check(expected)
            message = await receive()
            received += len(message.get("body", b""))
            self._check(received)
            return message

        await self._app(scope, bounded, send)

    def _check(self, length: int) -> None:
        if length > self._most:
            raise TooLargeError(FieldError("body", f"at most {self._most:,} bytes", f"{length:,} bytes or more"))
