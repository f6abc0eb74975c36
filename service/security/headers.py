"""What browsers are told about every answer."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ALWAYS = {
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""An answer is data: nothing in it is to be run, guessed at or framed. A page brings a policy of its own."""

OVER_TLS = {"strict-transport-security": "max-age=31536000"}


class SecurityHeaders:
    """Adds them, where an answer has none of that name (OWASP, "HTTP Security Response Headers").

    Args:
        app: what answers.
        tls: whether it is asked over TLS.
    """

    def __init__(self, app: ASGIApp, *, tls: bool) -> None:
        self._app = app
        told = ALWAYS | (OVER_TLS if tls else {})
        self._headers = [(name.encode(), value.encode()) for name, value in told.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message.get("headers", [])
                own = {name for name, _ in headers}
                message["headers"] = [*headers, *(each for each in self._headers if each[0] not in own)]
            await send(message)

        await self._app(scope, receive, telling)
