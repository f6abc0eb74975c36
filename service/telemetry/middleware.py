"""Each HTTP request: its id, its line in the log, its place in the metrics."""

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.telemetry import context
from service.telemetry.metrics import Metrics

HEADER = "x-request-id"
ID = re.compile(r"[\x21-\x7e]{1,128}")
"""What an id must look like to be taken over: it is repeated in headers and logs."""

WATCHING = ("/health/", "/v2/health/", "/metrics")
"""The beginnings of paths that are asked again and again to look after the service, and told of in debug only."""

logger = logging.getLogger("service.access")


class Telemetry:
    """Gives every request an id, or takes over its own, tells it in the answer, and counts and logs the request.

    Args:
        app: what answers.
        metrics: which count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and the answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        request_id = _request_id(scope)
        context.begin(request_id)
        header = (HEADER.encode(), request_id.encode())

        async def telling(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), header]
            await send(message)

        try:
            await self._app(scope, receive, telling)
        finally:
            seconds = time.perf_counter() - started
            method, route = scope["method"], getattr(scope.get("route"), "path", "other")
            self._metrics.requested(method, route, status, seconds)
            level = logging.DEBUG if scope["path"].startswith(WATCHING) else logging.INFO
            if logger.isEnabledFor(level):
                context.note(method=method, route=route, status=status, duration_ms=round(1e3 * seconds, 3))
                path = scope["raw_path"].decode("latin-1")  # not decoded, so that it stays one line
                logger.log(level, "%s %s %d in %.1f ms", method, path, status, 1e3 * seconds)


def _request_id(scope: Scope) -> str:
    """The id that the caller gives, if it is one; else a new one."""
    given = Headers(scope=scope).get(HEADER, "")
    return given if ID.fullmatch(given) else uuid4().hex
