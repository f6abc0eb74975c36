"""The id of each request, and its line in the log."""

import logging
import os
import re
from functools import cache
from itertools import count

from starlette.types import Scope

from service.telemetry.context import RequestFacts

ID = re.compile(r"[\x21-\x7e]{1,128}")
"""The form of an id that we accept from a caller. The restriction is needed because headers and logs repeat the id."""

MONITORING = ("/health/", "/v2/health/", "/metrics")
"""The prefixes of the paths that monitoring systems request again and again. They are logged only at level debug."""

MONITORING_CALLS = ("/grpc.health.", "/grpc.reflection.", "/inference.GRPCInferenceService/Server")
"""The same for the methods of gRPC."""

_NUMBERS = count()

logger = logging.getLogger("service.access")


def request_id(given: str) -> str:
    """The id that the caller gives, if it is valid; otherwise a new id: a random part for the process, and a number."""
    return given if given and ID.fullmatch(given) else f"{_process_part()}{next(_NUMBERS):016x}"


@cache
def _process_part() -> str:
    """A random text for this process. It is made at the first request, because worker processes are forks."""
    return os.urandom(8).hex()


def log(scope: Scope, facts: RequestFacts, route: str, status: int, seconds: float) -> None:
    """Log an answered request, unless the level of the log excludes it."""
    level = logging.DEBUG if scope["path"].startswith(MONITORING) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    method, milliseconds = scope["method"], 1e3 * seconds
    facts.outcome = {"method": method, "route": route, "status": status, "duration_ms": round(milliseconds, 3)}
    path = scope["raw_path"].decode("latin-1")  # still percent-encoded, so that it is one line
    logger.log(level, "%s %s %d in %.1f ms", method, path, status, milliseconds)


def log_call(facts: RequestFacts, method: str, status: str, seconds: float) -> None:
    """Log an answered gRPC call, unless the level of the log excludes it."""
    level = logging.DEBUG if method.startswith(MONITORING_CALLS) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    milliseconds = 1e3 * seconds
    facts.outcome = {"method": "gRPC", "route": method, "status": status, "duration_ms": round(milliseconds, 3)}
    logger.log(level, "gRPC %s %s in %.1f ms", method, status, milliseconds)
