"""``python -m service``: load the models, then listen."""

import logging
import sys
import warnings

import uvicorn
from pydantic import ValidationError
from pydantic_settings import CliApp, SettingsError

from models.artifact import ArtifactError
from service.app import create_app
from service.settings import Settings


def main() -> None:
    """Start the service. Where it cannot, say why in a line and end with status 1."""
    try:
        settings = CliApp.run(Settings)
        logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s: %(message)s")
        warnings.filterwarnings("ignore", module=r"PIL\.")  # for odd metadata of somebody's picture
        app = create_app(settings)
    except ValidationError as error:
        fields = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        sys.exit(f"error: settings: {fields}")
    except (ArtifactError, SettingsError, ValueError) as error:
        sys.exit(f"error: {error}")
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


main()
