"""The parts that the inference routes of all protocols share."""

import time
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.routing import request_response

from service.engine.request import EngineRequest
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


class DirectRoute(APIRoute):
    """A route that FastAPI documents, but that reads the arguments of its endpoint itself.

    FastAPI's own handling of a request would take longer than all our work outside the engine.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = request_response(self._answer)

    def arguments(self, request: Request) -> dict[str, Any]:
        """The arguments of the endpoint in addition to the request: by default, the parameters of the path."""
        return request.path_params

    async def _answer(self, request: Request) -> Response:
        answer: Response = await self.endpoint(request, **self.arguments(request))
        return answer


async def gone(request: Request) -> None:
    """Return once the caller has disconnected. The body must have been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def timing(answered: EngineRequest) -> dict[str, float]:
    """Where the time of an answered request went so far, in milliseconds: its phases, and the total until now."""
    phases = answered.phases
    milliseconds = {} if phases is None else {phase: 1e3 * seconds for phase, seconds in phases._asdict().items()}
    return milliseconds | {"total": 1e3 * (time.perf_counter() - answered.arrived_at)}


def server_timing(timing_ms: dict[str, float]) -> dict[str, str]:
    """The header with the result of `timing` (W3C Server Timing)."""
    return {"server-timing": ", ".join(f"{name};dur={milliseconds:.3f}" for name, milliseconds in timing_ms.items())}
