"""The environment variables of the service, as people and programs set them.

This module imports nothing that takes long, because a health check needs it every few seconds.
"""

import re
from collections.abc import Mapping

PREFIX = "ODENET_"

KEY = f"{PREFIX}KEY"
"""The variable with the API key of `predict`. It is no setting, because the service itself has no key."""

SERVICE_LINK = re.compile(
    r"ODENET_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
QUOTES = "\"'"


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Our variables that have a value.

    Kubernetes sets variables for each Service of the namespace, in every container. For Services that are called odenet
    or odenet-something, these variables begin with our prefix; ODENET_PORT is then tcp://ADDRESS:PORT. They are not
    settings, and are left out (Kubernetes, documentation of Service, "Discovering services").

    The API key of `predict` is no setting either.

    A value may be in quotes and end with the carriage return of a line, because ``docker run --env-file`` keeps both.

    Args:
        environment: all variables. The case of the names does not matter.
    """
    ours = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    settings = {
        name: _unquoted(value.strip())
        for name, value in ours.items()
        if name != KEY and not _is_service_link(name, value)
    }
    return {name: value for name, value in settings.items() if value}


def _is_service_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set a variable for a Service."""
    return bool(SERVICE_LINK.fullmatch(name) or (name.endswith("_PORT") and ADDRESS.fullmatch(value)))


def _unquoted(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] in QUOTES and value[0] == value[-1]
    return value[1:-1] if is_quoted else value
