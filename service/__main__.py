"""``python -m service``: load the models, then listen; or do what another command says."""

import logging
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from pydantic_settings import CliApp, SettingsError
from uvicorn.config import STARTUP_FAILURE

from models.artifact import ArtifactError
from service import commands
from service.app import create_app
from service.connections import ServerConfig
from service.engine.processors import usable_processors
from service.processes import serve
from service.repository import check
from service.roster import Roster
from service.security.tls import check_certificate
from service.server import Server
from service.settings import Settings
from service.settings import told as wrong
from service.shared import sharing
from service.telemetry import logs

Read = TypeVar("Read", bound=BaseModel)

logger = logging.getLogger("service")


def read(command: type[Read], arguments: list[str]) -> Read:
    """What a command line says, done if there is anything to do; where it is wrong, say how and end with status 1."""
    try:
        return CliApp.run(command, cli_args=arguments)
    except ValidationError as error:
        sys.exit(f"error: settings: {wrong(error)}")
    except (SettingsError, ValueError) as error:
        sys.exit(f"error: {error}")


def read_settings() -> Settings:
    """The settings of the service."""
    settings = read(Settings, sys.argv[1:])
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


def application() -> FastAPI:
    """The application, in the process that serves it."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # for odd metadata of somebody's picture
    with told():
        return create_app(read_settings())


def main() -> None:
    """Do what another command says, or start the service: in this process, or in several of its children."""
    for sig in (signal.SIGINT, signal.SIGTERM):  # until there is more to end; in a container none has a default
        signal.signal(sig, lambda *_: sys.exit(0))
    if sys.argv[1:2] and sys.argv[1] in commands.COMMANDS:
        read(commands.COMMANDS[sys.argv[1]], sys.argv[2:])
        return
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
    app = "service.__main__:application"
    if settings.processes == 1:
        server = Server(ServerConfig(app, factory=True, **listening), settings.grace_seconds)
        server.run()
        if not server.started:
            sys.exit(STARTUP_FAILURE)
        return
    with told(), sharing() as folder:
        roster = Roster.shared(folder)
        for name, version in check(settings).items():
            roster.put(name, version)
        serve(ServerConfig(app, factory=True, workers=settings.processes, **listening), settings.grace_seconds)


if __name__ == "__main__":
    main()
