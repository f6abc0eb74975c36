"""Logs: a line a record, as text or as JSON, with the id of the request that they are about."""

import logging
import sys

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from service.telemetry import context

JSON_FIELDS = "{levelname}{name}{message}{process}"
SHOWN = "%(levelname)s: %(message)s"


class TextFormatter(logging.Formatter):
    """A line for people, which ends with the id of the request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = super().format(record)
        request_id = context.known().get("request_id")
        return told if request_id is None else f"{told} [{request_id}]"


class RequestJsonFormatter(JsonFormatter):
    """An object with all that is known of the request."""

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Fill the object in."""
        super().add_fields(log_data, record, message_dict)
        log_data.update(context.known())


def configure(level: str, *, json: bool) -> None:
    """Log from a level on to stderr, and nowhere else; uvicorn's loggers too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        RequestJsonFormatter(
            JSON_FIELDS,
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # which is uvicorn's
        )
        if json
        else TextFormatter(SHOWN)
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
