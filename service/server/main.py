"""Load the models, then listen."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE

from models.artifact import ArtifactError
from service.hosting.desired_state import DesiredState
from service.hosting.manager import check
from service.processors import usable_processors
from service.security.tls import check_certificate
from service.server.graceful import Server
from service.server.http_protocol import ServerConfig
from service.server.shared_folder import shared_folder, sharing
from service.server.supervisor import serve
from service.settings import Settings, read_command_line
from service.telemetry import logs

if TYPE_CHECKING:
    from fastapi import FastAPI  # a supervisor serves nothing, and starts faster without it

logger = logging.getLogger("service")


def read_settings() -> Settings:
    """The settings of the service."""
    settings = read_command_line(Settings, sys.argv[1:])
    logs.configure(settings.log_level, json=settings.log_format == "json")
    return settings


@contextmanager
def told() -> Iterator[None]:
    """Say in a line why the service cannot start, and end.

    The status is uvicorn's own for what would fail again, so that it does not start a worker anew.
    """
    try:
        yield
    except (ArtifactError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 (a log line would be for those who run it already)
        sys.exit(STARTUP_FAILURE)


def application() -> "FastAPI":
    """The application, in the process that serves it."""
    from service.app import create_app  # noqa: PLC0415 (a supervisor serves nothing, and starts faster without)

    warnings.filterwarnings("ignore", module=r"PIL\.")  # for odd metadata of somebody's picture
    with told():
        return create_app(read_settings(), shared_folder())


def main() -> None:
    """Start the service: in this process, or in several of its children."""
    settings = read_settings()
    logger.info(
        "plan: processors usable %d, worker processes %d, threads of each engine %d, images queued for each at most %d",
        usable_processors(),
        settings.processes,
        settings.threads,
        settings.queue_rows,
    )
    if settings.tls_certificate is not None and settings.tls_key is not None:
        with told():
            check_certificate(settings.tls_certificate, settings.tls_key)
    listening: dict[str, Any] = {
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level,
        "log_config": None,
        "access_log": False,  # service.telemetry tells of each request
        "server_header": False,
        "timeout_graceful_shutdown": settings.shutdown_seconds,
        "timeout_keep_alive": settings.keep_alive_seconds,
        "client_seconds": settings.client_seconds,
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
    }
    app = "service.server.main:application"
    if settings.processes == 1:
        server = Server(ServerConfig(app, factory=True, **listening), settings.grace_seconds)
        server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    with told(), sharing() as folder:
        desired = DesiredState.shared(folder)
        for name, version in check(settings).items():
            desired.put(name, version)
        serve(ServerConfig(app, factory=True, workers=settings.processes, **listening), settings.grace_seconds)
