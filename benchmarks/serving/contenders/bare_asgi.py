"""Floor: an ASGI function that reads the body and returns as many bytes as an answer of the service has."""

from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.serving.contenders.common import ANSWER

HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]


def create_app() -> ASGIApp:
    """The application."""
    return _answer


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":  # uvicorn falls back to no lifespan
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": ANSWER})
