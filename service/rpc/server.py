"""The gRPC server of a process: its limits, its port, and its end."""

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server
from tritonclient.grpc import service_pb2  # noqa: F401 (registers the messages, which reflection describes)

from service.inference.data_plane import DataPlane
from service.open_inference.models import Reports
from service.processors import starting_batch_threads
from service.rpc.calls import Calls
from service.rpc.gateway import SERVICE, Gateway
from service.rpc.health import Health
from service.security.guard import Guard
from service.settings import Settings
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from service.telemetry.tracing import Tracing

HEALTH = "grpc.health.v1.Health"

SERVERS = 16
"""The servers of a process, all at the same port. The kernel spreads the connections over them.

A server of grpc.aio accepts a call only some iterations of the event loop after the call before it, and the engine
computes in between. `python -m benchmarks.serving.rpc` shows the effect: with a single server, calls that arrive
together join no common batch."""

MOST_STREAMS = 256
"""The greatest number of calls at the same time on a connection. Clients keep further calls back."""

PING_SECONDS = 10
"""The shortest interval at which a client may ping the server to keep its connection."""

logger = logging.getLogger("uvicorn.error")


class RpcServer:
    """Serves gRPC calls on the running event loop, next to HTTP.

    gRPC's own threads read from the sockets. They wake up several times for each call. If they interrupted the engine
    each time, calls would take more processor time, and fewer would join a batch.

    Args:
        plane: computes the answers.
        reports: what the service reports about its models.
        metrics: count the calls.
        guard: checks the API keys; None if calls need no key.
        tracing: makes spans; None for no traces.
    """

    def __init__(
        self, plane: DataPlane, reports: Reports, metrics: Metrics, guard: Guard | None, tracing: "Tracing | None"
    ) -> None:
        self._settings = plane.settings
        self._gateway = Gateway(metrics, guard, tracing, plane.settings.client_seconds, plane.engine.expecting)
        health = Health(plane, self._gateway.ending)
        self._gateway.add_generic_rpc_handlers(
            (Calls(plane, reports, self._gateway).handler(), _health_handler(health))
        )
        described = reflection.aio.ReflectionServicer((SERVICE, HEALTH, reflection.SERVICE_NAME))
        add_ServerReflectionServicer_to_server(described, self._gateway)
        options = _options(plane.settings)
        with starting_batch_threads():
            self._servers = [aio.server(handlers=[self._gateway], options=options) for _ in range(SERVERS)]

    async def start(self, port: int) -> None:
        """Listen on a port, at the address of the service. Several processes may listen on the same port.

        Raises:
            RuntimeError: the port is not available.
        """
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        if settings.tls_certificate is not None and settings.tls_key is not None:
            pair = settings.tls_key.read_bytes(), settings.tls_certificate.read_bytes()
            for server in self._servers:
                server.add_secure_port(f"{host}:{port}", grpc.ssl_server_credentials([pair]))
        else:
            for server in self._servers:
                server.add_insecure_port(f"{host}:{port}")
        with starting_batch_threads():
            for server in self._servers:
                await server.start()
        logger.info("gRPC running on %s:%d", host, port)

    async def stop(self, seconds: float) -> None:
        """Accept no more calls, and answer those that have arrived. Calls that take longer are cancelled."""
        self._gateway.ending.set()
        await asyncio.gather(*(server.stop(seconds) for server in self._servers))


def _options(settings: Settings) -> list[tuple[str, Any]]:
    """The options of gRPC's core (github.com/grpc/grpc, include/grpc/impl/channel_arg_names.h)."""
    return [
        ("grpc.so_reuseport", 1),
        ("grpc.max_receive_message_length", settings.max_body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_concurrent_streams", MOST_STREAMS),
        ("grpc.http2.bdp_probe", 0),  # otherwise, each call costs a ping
        ("grpc.max_connection_idle_ms", 1000 * settings.keep_alive_seconds),
        ("grpc.keepalive_time_ms", 1000 * settings.keep_alive_seconds),
        ("grpc.keepalive_timeout_ms", round(1000 * settings.client_seconds)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 1000 * PING_SECONDS),
    ]


def _health_handler(health: Health) -> grpc.GenericRpcHandler:
    serialisation = health_pb2.HealthCheckRequest.FromString, health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        HEALTH,
        {
            "Check": grpc.unary_unary_rpc_method_handler(health.check, *serialisation),
            "Watch": grpc.unary_stream_rpc_method_handler(health.watch, *serialisation),
        },
    )
