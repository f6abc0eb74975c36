"""The service as an application of Ray Serve: ``serve run deploy.ray.app:app``, from the root of the repository.

Each replica is a whole service without its server: Ray's proxy receives the requests. A replica has one process, so the
settings of the processes do not apply. All other settings come from the variables ``ODENET_*`` of the replica.
"""

import logging
from typing import Any

import httpx
from fastapi import FastAPI
from ray import serve

from service.app import create_app
from service.settings import Settings
from service.telemetry import logs


def build() -> FastAPI:
    """Create the application, in the replica that serves it.

    Ray's proxy listens on the networks of the machine. So the settings need either API keys or ``ODENET_NO_AUTH``.

    Raises:
        ValueError: a setting is wrong, or does not fit several replicas.
    """
    settings = Settings(host="0.0.0.0", workers=1)  # noqa: S104 (this process listens nowhere)
    if settings.model_control:
        raise ValueError(
            "model_control: is not available on Ray Serve, because a request to load a model would reach only one "
            "replica; put the version into the models folder that all replicas watch, or deploy another folder"
        )
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each health check
    logs.configure(settings.log_level, json=settings.log_format == "json")
    return create_app(settings)


class Replica:
    """A replica. Ray batches nothing, because the engine batches better: each image has its own step size."""

    app: FastAPI  # set by Ray, which makes the class an ASGI application

    async def check_health(self) -> None:
        """Raise an error unless the service is ready. Ray then replaces the replica.

        Raises:
            httpx.HTTPStatusError: the service is not ready.
        """
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://replica") as client:
            (await client.get("/health/ready")).raise_for_status()


deployment: Any = serve.deployment(
    serve.ingress(build)(Replica),
    name="odenet",
    max_ongoing_requests=4096,  # more than a replica admits, so that the service itself refuses the rest
    health_check_period_s=2,
    health_check_timeout_s=10,
    graceful_shutdown_wait_loop_s=1,
    graceful_shutdown_timeout_s=30,
    ray_actor_options={"num_cpus": 1},
)

app = deployment.bind()
