"""What is known of the request that is being answered, for whatever is logged meanwhile."""

from contextvars import ContextVar

_known: ContextVar[dict[str, object]] = ContextVar("request")


def begin(request_id: str) -> None:
    """Begin a request, in the task that answers it."""
    _known.set({"request_id": request_id})


def note(**facts: object) -> None:
    """Add what has become known of the request."""
    known().update(facts)


def known() -> dict[str, object]:
    """What is known; nothing outside of a request."""
    return _known.get({})
