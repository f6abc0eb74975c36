"""Holds the facts about the current request, which are added to the log records."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.engine.request import EngineRequest


class RequestFacts:
    """The facts about a request. The log collects them only when it writes a record.

    Args:
        request_id: the id of the request; None outside a request.

    Attributes:
        key: the name of the API key of the request.
        inference: the images of the request, on their way through the engine.
        outcome: the facts of the access log, once the request is answered.
    """

    __slots__ = ("inference", "key", "outcome", "request_id")

    def __init__(self, request_id: str | None = None) -> None:
        self.request_id = request_id
        self.key: str | None = None
        self.inference: EngineRequest | None = None
        self.outcome: dict[str, object] = {}

    def collect(self) -> dict[str, object]:
        """All facts, by their names in the log; empty outside a request."""
        facts: dict[str, object] = {"request_id": self.request_id, "key": self.key}
        if (request := self.inference) is not None:
            facts |= {"model": request.model.name, "version": request.model.version, "images": len(request.images)}
            if request.phases is not None:
                facts |= {
                    "nfe": int(request.answer.nfe.sum()),
                    "escalated": sum(request.escalated),
                    "degraded": sum(request.degraded),
                }
        return {name: value for name, value in (facts | self.outcome).items() if value is not None}


_current: ContextVar[RequestFacts] = ContextVar("request")


def begin(request_id: str) -> RequestFacts:
    """Begin a request, in the task that answers the request."""
    facts = RequestFacts(request_id)
    _current.set(facts)
    return facts


def current() -> RequestFacts:
    """The facts about the current request; outside a request, facts that nobody reads."""
    return _current.get(None) or RequestFacts()
