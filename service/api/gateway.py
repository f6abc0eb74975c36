"""The one layer between the server and FastAPI's routes, and the short way to the inference routes."""

import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException
from fastapi.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.errors import ErrorAnswers, is_expected
from service.api.exchange import EXCHANGE, ID_HEADER, Answer, Exchange, Headers, MoreHeaders, ReportLoad
from service.api.inference_route import InferenceRoute
from service.security.guard import Guard, needed_scope
from service.telemetry import access, context
from service.telemetry.metrics import Metrics

CORS: dict[str, Any] = {
    "allow_methods": ["GET", "HEAD", "POST"],
    "allow_headers": [
        "authorization",
        "content-encoding",
        "content-type",
        "inference-header-content-length",
        "traceparent",
        "tracestate",
        "x-request-id",
    ],
    "expose_headers": ["inference-header-content-length", "retry-after", "server-timing", "x-request-id"],
}
"""The methods and headers that pages of the allowed origins may send, and the headers of answers they may read."""


class Gateway:
    """Gives each request an id, checks its key, limits its body, answers it, adds headers, logs it and counts it.

    Separate layers for these tasks would take longer than the tasks themselves.

    Slashes at the end of a path and more than one at its beginning do not matter. We answer such a request at once,
    because a redirect would need the public URL of a proxy, which we do not know. A path that answers GET also answers
    HEAD (RFC 9110, section 9.3.2).

    Args:
        app: FastAPI's application, for all requests that the gateway does not answer.
        routes: the inference routes that the gateway calls itself; FastAPI routes the requests for the others.
        errors: answer the errors of these routes, and the requests without a valid key.
        metrics: count the requests.
        guard: checks the API keys; None if requests need no key.
        max_body_bytes: the greatest number of bytes of a body.
        headers: the headers that each answer gets unless it has them.
        report_load: reports the load to the callers that ask.
        origins: the origins whose pages may send requests.
    """

    def __init__(
        self,
        app: ASGIApp,
        routes: Sequence[InferenceRoute],
        errors: ErrorAnswers,
        metrics: Metrics,
        guard: Guard | None,
        max_body_bytes: int,
        headers: Headers,
        report_load: ReportLoad,
        origins: Sequence[str] = (),
    ) -> None:
        self._app = app
        self._routes = routes
        self._errors = errors
        self._metrics = metrics
        self._guard = guard
        self._max_body_bytes = max_body_bytes
        self._headers = MoreHeaders(headers, report_load)
        self._cors = CORSMiddleware(self._answer_in_cors, origins, **CORS) if origins else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        path = scope["path"]
        if path.endswith("/") or path.startswith("//"):
            scope["path"] = f"/{path.strip('/')}"
        exchange = Exchange(scope, receive, send, self._max_body_bytes, self._headers)
        exchange.id = access.request_id(exchange.first(ID_HEADER))
        facts = context.begin(exchange.id)
        try:
            if self._cors is None:
                await self._answer(exchange, exchange.send, exchange.answer)
            else:
                scope[EXCHANGE] = exchange
                await self._cors(scope, exchange.receive_limited, exchange.send)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requested(scope["method"], route, exchange.status, seconds)
            access.log(scope, facts, route, exchange.status, seconds)

    async def _answer_in_cors(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self._answer(scope[EXCHANGE], send, lambda answer: answer.send(send))

    async def _answer(self, exchange: Exchange, send: Send, finish: Callable[[Answer], Awaitable[None]]) -> None:
        """Answer a request: by an inference route, or else by FastAPI.

        Args:
            exchange: the request.
            send: sends the parts of FastAPI's answer.
            finish: sends an answer as a whole.
        """
        try:
            self._check(exchange)
            answer = await self._infer(exchange)
        except Exception as error:
            response = self._errors.answer(exchange.scope, error)
            await finish(Answer(response.status_code, response.raw_headers, bytes(response.body)))
            if not is_expected(error):
                raise
            return
        if answer is not None:
            await finish(answer)
            return
        exchange.scope[EXCHANGE] = exchange
        if exchange.scope["method"] != "HEAD":
            await self._app(exchange.scope, exchange.receive_limited, send)
            return
        as_get = {**exchange.scope, "method": "GET"}  # the server removes the content of the answer
        try:
            await self._app(as_get, exchange.receive_limited, send)
        finally:
            exchange.scope["route"] = as_get.get("route")

    def _check(self, exchange: Exchange) -> None:
        """Check the key and the path of a request.

        The pattern of a route also matches a path with a line feed behind it, but the guard compares whole paths.
        """
        path = exchange.scope["path"]
        if self._guard is not None:
            self._guard.check(needed_scope(path), exchange.first(b"authorization"))
        if path.endswith("\n"):
            raise HTTPException(HTTPStatus.NOT_FOUND)

    async def _infer(self, exchange: Exchange) -> Answer | None:
        """The answer of an inference route; None if the request is for another route."""
        scope = exchange.scope
        if scope["method"] == "POST":
            for route in self._routes:
                if match := route.path_regex.match(scope["path"]):
                    scope["route"] = route
                    return await route.answer(exchange, match.groupdict())
        return None
