"""Bounds on what a client may send."""

from collections.abc import Collection
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.body import IMAGE_BYTES, PIXELS
from service.api.problems import answer
from service.engine.admission import Admission
from service.engine.job import Priority
from service.errors import FieldError, TooLargeError

PRIORITIES = {b"priority=high": Priority.high, b"priority=low": Priority.low}

DRAINED = 256 * 2**20
"""Bytes of a body that is too large which are read and thrown away before it is refused."""


class BodyLimit:
    """Refuses a body over a limit, by its declared length or when it has grown that long, without keeping it.

    Args:
        app: what reads the body.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with a bounded body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        expected, received = int(declared) if declared.isdecimal() else 0, 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if max(expected, received) <= self._most:
                return message
            # A client that is still sending when it is answered may see a broken connection instead of the answer.
            while message.get("more_body", False) and received <= DRAINED:
                message = await receive()
                received += len(message.get("body", b""))
            length = max(expected, received)
            raise TooLargeError(FieldError("body", f"at most {self._most:,} bytes", f"{length:,} bytes or more"))

        await self._app(scope, bounded, send)


class Shedding:
    """Refuses what is asked of the engine while its queue is full, before anything is done for it.

    Args:
        app: what is asked else.
        admission: to the queue.
        paths: of what the engine computes.
        max_images: of a request.
    """

    def __init__(self, app: ASGIApp, admission: Admission, paths: Collection[str], max_images: int) -> None:
        self._app = app
        self._admission = admission
        self._paths = paths
        self._max_images = max_images
        self._refusal = lru_cache(lambda retry_after: answer(admission.refusal(retry_after)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] not in self._paths or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        query: bytes = scope["query_string"]
        priority = next((it for told, it in PRIORITIES.items() if told in query), Priority.normal)
        if not self._admission.has_room(_rows(scope, self._max_images), priority):
            await self._refusal(self._admission.refuse(priority))(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _rows(scope: Scope, most: int) -> int:
    """How many images the body seems to hold by its headers: those of raw pixels tell, and others hold one at least.

    A body that is too large is told so by whoever reads it.
    """
    headers = dict(scope["headers"])
    length: bytes = headers.get(b"content-length", b"")
    if headers.get(b"content-type") != PIXELS.encode() or not length.isdigit():
        return 1
    rows, rest = divmod(int(length), IMAGE_BYTES)
    return rows if rest == 0 and 1 <= rows <= most else 1
