"""Configures the logs: one line for each record, as text or as JSON, with the id of the request."""

import logging
import sys

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from service.telemetry import context

JSON_FIELDS = "{levelname}{name}{message}{process}"
TEXT_FORMAT = "%(levelname)s: %(message)s"


class TextFormatter(logging.Formatter):
    """Formats a record as a line for people. The line ends with the id of the request."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = super().format(record)
        request_id = context.current().request_id
        return line if request_id is None else f"{line} [{request_id}]"


class RequestJsonFormatter(JsonFormatter):
    """Formats a record as a JSON object with all facts about the request."""

    def add_fields(
        self, log_data: dict[str, object], record: logging.LogRecord, message_dict: dict[str, object]
    ) -> None:
        """Fill in the object."""
        super().add_fields(log_data, record, message_dict)
        log_data.update(context.current().collect())


def configure(level: str, *, json: bool) -> None:
    """Log records of a level or above to stderr and nowhere else. This includes the records of uvicorn."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        RequestJsonFormatter(
            JSON_FIELDS,
            style="{",
            timestamp="time",
            rename_fields={"levelname": "level"},
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],  # uvicorn adds color_message
        )
        if json
        else TextFormatter(TEXT_FORMAT)
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
