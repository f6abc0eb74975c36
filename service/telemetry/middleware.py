"""Gives each HTTP request an id, logs it, and counts it in the metrics."""

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
"""The form of an id that we accept from a caller. The restriction is needed because headers and logs repeat the id."""

MONITORING = ("/health/", "/v2/health/", "/metrics")
"""The starts of the paths that monitoring requests again and again. They are logged only at level debug."""

logger = logging.getLogger("service.access")


class Telemetry:
    """Counts and logs each request, and puts its id into the answer. The id comes from the caller or is a new one.

    Args:
        app: the application that answers.
        metrics: count the requests.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and the answer back."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        request_id = _request_id(scope)
        context.begin(request_id)
        header = (HEADER.encode(), request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), header]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            method, route = scope["method"], getattr(scope.get("route"), "path", "other")
            self._metrics.requested(method, route, status, seconds)
            level = logging.DEBUG if scope["path"].startswith(MONITORING) else logging.INFO
            if logger.isEnabledFor(level):
                context.add(method=method, route=route, status=status, duration_ms=round(1e3 * seconds, 3))
                path = scope["raw_path"].decode("latin-1")  # still percent-encoded, so that it is one line
                logger.log(level, "%s %s %d in %.1f ms", method, path, status, 1e3 * seconds)


def _request_id(scope: Scope) -> str:
    """The id that the caller gives, if it is valid; otherwise a new id."""
    given = Headers(scope=scope).get(HEADER, "")
    return given if ID.fullmatch(given) else uuid4().hex
