"""``python -m service``: load the models, then listen."""

import logging
import sys
import warnings
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from models.artifact import ArtifactError
from service.app import create_app
from service.engine.processors import usable_processors
from service.settings import Settings

logger = logging.getLogger("service")


def read_settings() -> Settings:
    """The settings; where they are wrong, say how in a line and end with status 1."""
    try:
        settings = CliApp.run(Settings)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        sys.exit(f"error: settings: {fields}")
    except SettingsError as error:
        sys.exit(f"error: {error}")
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s: %(message)s")
    return settings


def application() -> FastAPI:
    """The application, in the process that serves it; where it cannot be, say why in a line and end with status 1."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # for odd metadata of somebody's picture
    try:
        return create_app(read_settings())
    except (ArtifactError, ValueError) as error:
        sys.exit(f"error: {error}")


def main() -> None:
    """Start the service: in this process, or in several of its children."""
    settings = read_settings()
    logger.info(
        "%d processors usable; %d worker%s, an engine of %d thread%s each",
        usable_processors(),
        settings.workers,
        "s" if settings.workers > 1 else "",
        settings.threads,
        "s" if settings.threads > 1 else "",
    )
    several = settings.workers > 1
    listening: dict[str, Any] = {"workers": settings.workers, "factory": True} if several else {}
    uvicorn.run(
        "service.__main__:application" if several else application(),
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        **listening,
    )


if __name__ == "__main__":
    main()
