"""The start of the service: read the settings, then serve in this process or in several worker processes."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uvicorn.config import STARTUP_FAILURE

from models.artifact import ArtifactError
from service.hosting.folder import check_models
from service.processors import usable_processors
from service.rpc.extra import check_installed
from service.security.keys import read_keys
from service.security.tls import check_certificate
from service.server.graceful import GracefulServer
from service.server.http_protocol import ServerConfig
from service.server.listening import EVERYWHERE, bind, check_free
from service.server.shared_folder import shared_folder
from service.server.supervisor import serve
from service.settings import Settings, read_command_line
from service.telemetry import logs

if TYPE_CHECKING:
    from fastapi import FastAPI  # the supervisor serves nothing, and starts faster without

APPLICATION = f"{__name__}:application"

logger = logging.getLogger("service")


def read_settings() -> Settings:
    """Read the settings of the service, and configure its logs."""
    settings = read_command_line(Settings, sys.argv[1:])
    logs.configure(settings.log_level, json=settings.log_format == "json")
    return settings


@contextmanager
def reporting_failures() -> Iterator[None]:
    """Report in a line why the service cannot start, and end the process.

    The exit status is uvicorn's own for a failure that would repeat, so that the supervisor starts no other worker.
    """
    try:
        yield
    except (ArtifactError, OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.filename is None else None
        print(f"error: {reason or error}", file=sys.stderr)  # noqa: T201 (logs are for the operators of a running service)
        sys.exit(STARTUP_FAILURE)


def application() -> "FastAPI":
    """The application, in the process that serves it."""
    from service.app import create_app  # noqa: PLC0415 (the supervisor serves nothing, and starts faster without)

    warnings.filterwarnings("ignore", module=r"PIL\.")  # pictures of callers may have odd metadata
    with reporting_failures():
        return create_app(read_settings(), shared_folder())


def main() -> None:
    """Start the service: in this process, or in several worker processes."""
    settings = read_settings()
    logger.info(
        "plan: processors usable %d, worker processes %d, each computes in %s, longest queue %g s",
        usable_processors(),
        settings.processes,
        f"{settings.engine_threads} thread(s)" if settings.engine_threads else "its event loop",
        settings.queue_seconds,
    )
    with reporting_failures():  # before the models are loaded and several processes report the same
        if settings.tls_certificate is not None and settings.tls_key is not None:
            check_certificate(settings.tls_certificate, settings.tls_key)
        if settings.api_key_file is not None:
            read_keys(settings.api_key_file)
        check_free(settings.host, settings.port)
        options = _options(settings)
        if settings.grpc_port is not None:
            check_installed()
            options["grpc_port"] = check_free(settings.host, settings.grpc_port, "grpc_port")
    if settings.processes == 1:
        server = GracefulServer(ServerConfig(APPLICATION, workers=1, **options), settings.grace_seconds)
        server.run([bind(EVERYWHERE, settings.port)] if settings.host == EVERYWHERE else None)
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    with reporting_failures():
        config = ServerConfig(APPLICATION, workers=settings.processes, **options)
        serve(config, settings.grace_seconds, check_models(settings))


def _options(settings: Settings) -> dict[str, Any]:
    """The arguments of `ServerConfig`, apart from the application and the workers."""
    return {
        "factory": True,
        "host": settings.host,
        "port": settings.port,
        "log_level": settings.log_level,
        "log_config": None,
        "access_log": False,  # service.telemetry logs each request
        "server_header": False,
        "timeout_graceful_shutdown": settings.shutdown_seconds,
        "timeout_keep_alive": settings.keep_alive_seconds,
        "client_seconds": settings.client_seconds,
        "ssl_certfile": settings.tls_certificate,
        "ssl_keyfile": settings.tls_key,
    }
