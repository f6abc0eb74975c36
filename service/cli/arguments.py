"""What the command line says."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import HttpUrl, ValidationError

from service.api.query import QueryFields
from service.cli.output import line
from service.errors import field_errors

KEY = "ODE_KEY"
"""The variable with the API key. It has not the prefix of settings, among which it would be refused."""

STDIN = "-"

EPILOG = f"""\
The API key, where the service wants one, is read from the environment variable {KEY}. A proxy is taken from
HTTPS_PROXY and its like, and who is trusted beside the system's authorities from SSL_CERT_FILE, both only with --url.

exit status:
  0  every file is answered
  2  wrong use: an argument, {KEY} or a setting
  3  a file cannot be read, or is larger than the setting max_body_bytes; the others are asked for
  4  the service refuses a file or what is asked of it (4xx); the others are asked for
  5  the service is overloaded, stops, fails, or misses the deadline (429, 5xx); nothing more is asked
  6  the service cannot be reached, or not be started in this process; nothing more is asked
Where files end differently, the first that is not answered says. The reasons go to the error output.
"""


class Asked(NamedTuple):
    """What the command line says.

    Attributes:
        files: their paths, or `STDIN`.
        query: how to solve, and by which model.
        url: of the service; None for that of the settings.
        raw: whether to print answers as they come.
        key: to show; None for none.
    """

    files: list[str]
    query: QueryFields
    url: str | None
    raw: bool
    key: str | None


def parser() -> ArgumentParser:
    """The command line. Not pydantic-settings', which takes a comma or a bracket in a file's name for a list's."""
    told = ArgumentParser(
        "python -m service predict",
        description="Print the digits in files, by a service that runs or, where none does, in this process.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    told.add_argument(
        "files", nargs="+", metavar="FILE", help="a PNG, a JPEG, or 784 grey levels an image; - for the standard input"
    )
    for name, field in QueryFields.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        if field.annotation in (bool, bool | None):
            told.add_argument(flag, action=BooleanOptionalAction, help=field.description)
        elif get_origin(field.annotation) is Literal:
            told.add_argument(flag, choices=get_args(field.annotation), help=field.description)
        else:
            told.add_argument(flag, metavar="VALUE", help=field.description)
    told.add_argument("--url", type=_url, help="Of the service. Default: by the settings, http://127.0.0.1:8000.")
    told.add_argument("--json", action="store_true", help="Print the answers as they come, a line for each file.")
    return told


def read(parser: ArgumentParser, arguments: Sequence[str]) -> Asked:
    """What the arguments and the environment say; where that is wrong, say how and end as argparse does."""
    told = parser.parse_args(arguments)
    given = {name: getattr(told, name) for name in QueryFields.model_fields}
    try:
        query = QueryFields.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        parser.error("; ".join(map(line, field_errors(list(error.errors(include_url=False))))))
    if query.trace and not told.json:
        parser.error("--trace: the table does not show it; give --json too")
    key = os.environ.get(KEY, "").strip() or None
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        parser.error(f"{KEY}: must be an API key, which has no spaces and nothing but ASCII")
    return Asked(told.files, query, told.url, told.json, key)


def _url(told: str) -> str:
    """The URL of a service, without a slash at its end."""
    if "@" in told:  # not repeated, as it may hold a key
        raise ArgumentTypeError(f"must hold no user or password; an API key goes into the variable {KEY}")
    try:
        url = HttpUrl(told)
    except ValidationError as error:
        raise ArgumentTypeError(f"{error.errors()[0]['msg']}; not {told}") from None
    if url.query is not None or url.fragment is not None:
        raise ArgumentTypeError(f"must end with a host, a port or a path; not {told}")
    return str(url).rstrip("/")
