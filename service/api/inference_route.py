"""The parts that the inference routes of all protocols share."""

import time
from typing import Any

from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from service.api.exchange import EXCHANGE, Answer, Exchange
from service.engine.request import EngineRequest, Phases
from service.errors import (
    DeadlineError,
    InvalidError,
    MalformedError,
    OverloadedError,
    StoppingError,
    TooLargeError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)

REFUSALS = (
    MalformedError,
    UnknownModelError,
    TooLargeError,
    UnsupportedMediaTypeError,
    InvalidError,
    OverloadedError,
    StoppingError,
    DeadlineError,
)
"""The errors that an inference route documents."""


class InferenceRoute(APIRoute):
    """A route that is in FastAPI's document, but bypasses its handling of requests. The endpoint reads the request.

    FastAPI's handling would take longer than all our work outside the engine.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = self._answer_in_app

    async def answer(self, exchange: Exchange, path_parameters: dict[str, str]) -> Answer:
        """Call the endpoint with the parameters of the path."""
        answer: Answer = await self.endpoint(exchange, **path_parameters)
        return answer

    async def _answer_in_app(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request that FastAPI has routed here."""
        answer = await self.answer(scope[EXCHANGE], scope["path_params"])
        await answer.send(send)


PHASES = (*Phases._fields, "total")
SERVER_TIMING = ", ".join(f"{name};dur=%.3f" for name in PHASES)
"""The format of the header Server-Timing (W3C Server Timing)."""


def timing(answered: EngineRequest) -> dict[str, float]:
    """Where the time of an answered request went so far, in milliseconds: its phases, and the total until now."""
    seconds = (*(answered.phases or ()), time.perf_counter() - answered.arrived_at)
    return dict(zip(PHASES, [1e3 * each for each in seconds], strict=True))


def server_timing(timing_ms: dict[str, float]) -> tuple[bytes, bytes]:
    """The header with the result of `timing`."""
    return b"server-timing", (SERVER_TIMING % tuple(timing_ms.values())).encode()


def written(content: bytes, media_type: bytes, *headers: tuple[bytes, bytes]) -> Answer:
    """Make an answer with status 200.

    Args:
        content: the bytes of the body.
        media_type: the media type of the body.
        headers: more headers.
    """
    return Answer(200, [*headers, (b"content-type", media_type), (b"content-length", b"%d" % len(content))], content)
