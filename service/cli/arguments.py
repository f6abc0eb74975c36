"""The command line of ``python -m service predict``."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args, get_origin

from pydantic import HttpUrl, ValidationError

from service import PROGRAM
from service.api.query import QueryFields
from service.cli.output import line
from service.environment import KEY
from service.errors import field_errors

STDIN = "-"

EPILOG = f"""\
The environment variable {KEY} holds the API key, if the service needs one. With --url, the command also uses the
proxy in HTTPS_PROXY and similar variables, unless the service is on this machine, and it trusts the certificates of the
system and of SSL_CERT_FILE.

exit status:
  0  the service answered every file
  2  wrong use: an argument, {KEY} or a setting
  3  a file cannot be read, or is larger than the setting max_body_bytes; the command goes on with the other files
  4  the service refuses a file or an option (4xx); the command goes on with the other files
  5  the service is overloaded, stops, fails, or misses the deadline (429, 5xx); the command stops
  6  the service cannot be reached, or cannot be started in this process; the command stops
If several files fail, the first failure sets the status. The reasons go to standard error.
"""


class Arguments(NamedTuple):
    """The arguments of the command, and the API key from the environment.

    Attributes:
        files: the paths of the files, or `STDIN`.
        query: the fields of the request. They choose the solver settings and the model.
        url: the URL of the service; None for the URL in the settings.
        raw: whether to print the answers unchanged, as JSON.
        key: the API key to send; None for no key.
    """

    files: list[str]
    query: QueryFields
    url: str | None
    raw: bool
    key: str | None


def parser() -> ArgumentParser:
    """The parser of the command line.

    We do not use pydantic-settings here, because it reads a comma or a bracket in the name of a file as part of a list.
    """
    command_line = ArgumentParser(
        f"{PROGRAM} predict",
        description="Print the digits in files. A running service answers, or this process if no service runs.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command_line.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="a PNG, a JPEG, or raw images of 784 grey levels each; - for standard input",
    )
    for name, field in QueryFields.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        if field.annotation in (bool, bool | None):
            command_line.add_argument(flag, action=BooleanOptionalAction, help=field.description)
        elif get_origin(field.annotation) is Literal:
            command_line.add_argument(flag, choices=get_args(field.annotation), help=field.description)
        else:
            command_line.add_argument(flag, metavar="VALUE", help=field.description)
    command_line.add_argument(
        "--url", type=_url, help="The URL of the service. Default: the URL in the settings, http://127.0.0.1:8000."
    )
    command_line.add_argument("--json", action="store_true", help="Print the answers as JSON, one line for each file.")
    return command_line


def read(parser: ArgumentParser, arguments: Sequence[str]) -> Arguments:
    """Read the arguments and the environment. If they are wrong, print the reason and exit as argparse does."""
    parsed = parser.parse_args(arguments)
    given = {name: getattr(parsed, name) for name in QueryFields.model_fields}
    try:
        query = QueryFields.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        parser.error("; ".join(map(line, field_errors(list(error.errors(include_url=False))))))
    if query.trace and not parsed.json:
        parser.error("--trace: the table does not show traces; add --json")
    key = os.environ.get(KEY, "").strip() or None
    if key is not None and not re.fullmatch(r"[!-~]+", key):
        parser.error(f"{KEY}: must be an API key, which has only printable ASCII characters and no spaces")
    return Arguments(parsed.files, query, parsed.url, parsed.json, key)


def _url(text: str) -> str:
    """The URL of a service, without a slash at its end."""
    if "@" in text:  # the message does not repeat the text, because it may hold a key
        raise ArgumentTypeError(f"must not hold a user or a password; put the API key into the variable {KEY}")
    try:
        url = HttpUrl(text)
    except ValidationError as error:
        raise ArgumentTypeError(f"{error.errors()[0]['msg']}; not {text}") from None
    if url.query is not None or url.fragment is not None:
        raise ArgumentTypeError(f"must not have a query or a fragment; not {text}")
    return str(url).rstrip("/")
