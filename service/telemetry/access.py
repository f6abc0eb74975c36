"""The id of each HTTP request, and its line in the log."""

import logging
import os
import re
from itertools import count

from starlette.types import Scope

from service.telemetry.context import RequestFacts

ID = re.compile(r"[\x21-\x7e]{1,128}")
"""The form of an id that we accept from a caller. The restriction is needed because headers and logs repeat the id."""

MONITORING = ("/health/", "/v2/health/", "/metrics")
"""The prefixes of the paths that monitoring systems request again and again. They are logged only at level debug."""

_PROCESS = os.urandom(8).hex()
_NUMBERS = count()

logger = logging.getLogger("service.access")


def request_id(given: str) -> str:
    """The id that the caller gives, if it is valid; otherwise a new id: a random part for the process, and a number."""
    return given if given and ID.fullmatch(given) else f"{_PROCESS}{next(_NUMBERS):016x}"


def log(scope: Scope, facts: RequestFacts, route: str, status: int, seconds: float) -> None:
    """Log an answered request, unless the level of the log excludes it."""
    level = logging.DEBUG if scope["path"].startswith(MONITORING) else logging.INFO
    if not logger.isEnabledFor(level):
        return
    method, milliseconds = scope["method"], 1e3 * seconds
    facts.outcome = {"method": method, "route": route, "status": status, "duration_ms": round(milliseconds, 3)}
    path = scope["raw_path"].decode("latin-1")  # still percent-encoded, so that it is one line
    logger.log(level, "%s %s %d in %.1f ms", method, path, status, milliseconds)
