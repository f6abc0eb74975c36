"""Collects facts about the current request, which are added to the log records."""

from contextvars import ContextVar

_facts: ContextVar[dict[str, object]] = ContextVar("request")


def begin(request_id: str) -> None:
    """Begin a request, in the task that answers the request."""
    _facts.set({"request_id": request_id})


def add(**facts: object) -> None:
    """Add facts about the current request."""
    current().update(facts)


def current() -> dict[str, object]:
    """The facts about the current request; empty outside a request."""
    return _facts.get({})
