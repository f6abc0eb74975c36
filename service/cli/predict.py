"""The command ``predict``: sends each file to a service, and prints the answers."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from pydantic import ValidationError

from service import settings as environment
from service.api.query import QueryFields
from service.cli.arguments import STDIN, Arguments, parser, read
from service.cli.errors import Exit, NoAnswerError
from service.cli.output import printable, refusal, table, table_rows
from service.cli.target import connected, through_proxy
from service.settings import Settings

BYTES = {"content-type": "application/octet-stream"}
"""The headers of all requests. The service recognises a picture by the first bytes of its content."""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Returns:
        The exit status.
    """
    command_line = parser()
    parsed = read(command_line, arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        command_line.error(f"settings: {environment.describe(error)}")
    try:
        return asyncio.run(_predict_all(parsed, settings))
    except NoAnswerError as error:
        _print_error(str(error))
        return error.status
    except KeyboardInterrupt:
        return Exit.interrupted


async def _predict_all(arguments: Arguments, settings: Settings) -> int:
    """Send each file to the service, and print the answers. If some files fail, print the answers to the others."""
    status, lines = 0, list[list[str]]()
    async with connected(arguments, settings) as service:
        for file in arguments.files:
            name = printable(file)
            try:
                response = await _predict(service, _content(file, settings.max_body_bytes), arguments.query)
                lines += table_rows(name, response)
            except NoAnswerError as error:
                _print_error(f"{name}: {error}")
                status = status or error.status
                if error.status >= Exit.unavailable:
                    break
            else:
                if arguments.raw:
                    print(response.text, flush=True)  # noqa: T201
    if lines and not arguments.raw:
        print(table(lines), flush=True)  # noqa: T201
    return status


def _content(file: str, max_bytes: int) -> bytes:
    """Read a file.

    Raises:
        NoAnswerError: the file cannot be read, or has too many bytes.
    """
    if file == STDIN and sys.stdin is None:
        raise NoAnswerError(Exit.unreadable, "cannot be read: the standard input is closed")
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(max_bytes + 1)
    except OSError as error:
        raise NoAnswerError(Exit.unreadable, f"cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise NoAnswerError(Exit.unreadable, f"is larger than the setting max_body_bytes, {max_bytes:,} bytes")
    return content


async def _predict(service: httpx.AsyncClient, content: bytes, query: QueryFields) -> httpx.Response:
    """Request the predictions for the images of a file.

    Raises:
        NoAnswerError: the service cannot be reached, or refuses the request.
    """
    params = query.model_dump(exclude_unset=True)
    try:
        response = await service.post("/predict", content=content, params=params, headers=BYTES)
    except httpx.RequestError as error:
        reason = printable(str(error) or type(error).__name__)
        where = f"{service.base_url} cannot be reached{printable(through_proxy(service))}"
        raise NoAnswerError(Exit.unreachable, f"{where}: {reason}") from error
    if not response.is_success:
        raise refusal(response)
    return response


def _print_error(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)  # noqa: T201
