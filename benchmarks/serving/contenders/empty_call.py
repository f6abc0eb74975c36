"""Floor: a gRPC call that returns as many bytes as an answer of the service has, next to the floor `bare_asgi`.

The server is grpc.aio on the event loop of uvicorn, as in the service, without protobuf and without anything around the
call.
"""

import os
from typing import Any

import grpc
from grpc import aio
from starlette.types import ASGIApp, Receive, Scope, Send

from benchmarks.serving.contenders import bare_asgi
from benchmarks.serving.contenders.common import ANSWER

GRPC_PORT = "CONTENDER_GRPC_PORT"
"""The environment variable with the port for gRPC."""

SERVICE, METHOD = "benchmark.Floor", "Answer"


def create_app() -> ASGIApp:
    """The application."""
    answer, server = bare_asgi.create_app(), list[aio.Server]()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await answer(scope, receive, send)
            return
        await receive()
        server.append(await _start(int(os.environ[GRPC_PORT])))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await server[0].stop(None)
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def _start(port: int) -> aio.Server:
    server = aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {METHOD: grpc.unary_unary_rpc_method_handler(_call)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


async def _call(_request: bytes, _call: Any) -> bytes:
    return ANSWER
