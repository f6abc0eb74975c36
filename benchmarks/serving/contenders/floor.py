"""Servers that read the body of a request and return 600 bytes: what HTTP itself costs, with FastAPI and without."""

from fastapi import FastAPI, Request, Response
from starlette.types import Message, Receive, Scope, Send

CONTENT = b'{"predictions":[{"digit":7,"solver":{"nfe":4,"rtol":0.1,"degraded":false}}]}'.ljust(600)
"""A constant answer, in the form that the load generator reads."""

HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"600")]


def create_app() -> FastAPI:
    """A FastAPI application with one plain route."""
    app = FastAPI()

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """Read the body and return 600 bytes."""
        await request.body()
        return Response(CONTENT, media_type="application/json")

    return app


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application (https://asgi.readthedocs.io) without any framework."""
    if scope["type"] != "http":
        return
    message: Message = {"more_body": True}
    while message.get("more_body", False):
        message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": CONTENT})
