"""gRPC's standard health service (github.com/grpc/grpc, doc/health-checking.md), for load balancers and Kubernetes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from grpc import StatusCode
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from service.errors import FieldError, sentences, shortened
from service.inference.data_plane import DataPlane
from service.rpc.gateway import SERVICE
from service.rpc.status import CallError, Status

NAMES = frozenset({"", SERVICE})
"""The services that may be asked for. The empty name stands for all of them."""

WATCH_SECONDS = 0.5
"""The interval at which a watched status is checked."""


class Health:
    """Reports whether the service is ready.

    Args:
        plane: the data plane whose readiness is reported.
        ending: set when all streams must end.
    """

    def __init__(self, plane: DataPlane, ending: asyncio.Event) -> None:
        self._plane = plane
        self._ending = ending

    async def check(self, request: HealthCheckRequest, _context: Any) -> HealthCheckResponse:
        """The present status of a service.

        Raises:
            CallError: there is no such service.
        """
        if request.service not in NAMES:
            error = FieldError("service", f"must be empty or {SERVICE}", shortened(request.service))
            raise CallError(Status(StatusCode.NOT_FOUND, sentences([error])))
        return HealthCheckResponse(status=await self._status())

    async def watch(self, request: HealthCheckRequest, _context: Any) -> AsyncIterator[HealthCheckResponse]:
        """The status of a service, and then each change of it."""
        last = None
        while True:
            known = request.service in NAMES
            status = await self._status() if known else HealthCheckResponse.SERVICE_UNKNOWN
            if status != last:
                yield HealthCheckResponse(status=status)
                last = status
            if self._ending.is_set():
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), WATCH_SECONDS)

    async def _status(self) -> Any:
        ready = await self._plane.ready()
        return HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING
