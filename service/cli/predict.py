"""The command: asks for each file, and prints what is answered."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
from pydantic import ValidationError

from service import settings as environment
from service.api.query import QueryFields
from service.cli.arguments import STDIN, Asked, parser, read
from service.cli.errors import Exit, NoAnswerError
from service.cli.output import printable, refusal, rows, table
from service.cli.target import connected
from service.settings import Settings

BYTES = {"content-type": "application/octet-stream"}
"""A picture among them the service knows by how it begins."""


def main(arguments: Sequence[str]) -> int:
    """Ask, and print what is answered.

    Returns:
        The status to end with.
    """
    command_line = parser()
    asked = read(command_line, arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        command_line.error(f"settings: {environment.describe(error)}")
    try:
        return asyncio.run(_answer(asked, settings))
    except NoAnswerError as error:
        _complain(str(error))
        return error.status
    except BrokenPipeError:  # whoever read the output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the end
        return Exit.unread
    except KeyboardInterrupt:
        return Exit.interrupted


async def _answer(asked: Asked, settings: Settings) -> int:
    """Ask for each file; what is answered is printed even where something else is not."""
    status, lines = 0, list[list[str]]()
    async with connected(asked, settings) as service:
        for file in asked.files:
            name = printable(file)
            try:
                response = await _ask(service, _content(file, settings.max_body_bytes), asked.query)
                lines += rows(name, response)
            except NoAnswerError as error:
                _complain(f"{name}: {error}")
                status = status or error.status
                if error.status >= Exit.unavailable:
                    break
            else:
                if asked.raw:
                    print(response.text, flush=True)  # noqa: T201
    if lines and not asked.raw:
        print(table(lines), flush=True)  # noqa: T201
    return status


def _content(file: str, most: int) -> bytes:
    """The bytes of a file.

    Raises:
        NoAnswerError: it cannot be read, or has more bytes than `most`.
    """
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(most + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(most + 1)
    except OSError as error:
        raise NoAnswerError(Exit.unreadable, f"cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise NoAnswerError(Exit.unreadable, f"is larger than the setting max_body_bytes, {most:,} bytes")
    return content


async def _ask(service: httpx.AsyncClient, content: bytes, query: QueryFields) -> httpx.Response:
    """The answer to the images of a file.

    Raises:
        NoAnswerError: there is none.
    """
    told = query.model_dump(exclude_unset=True)
    try:
        response = await service.post("/predict", content=content, params=told, headers=BYTES)
    except httpx.RequestError as error:
        reason = str(error) or type(error).__name__
        raise NoAnswerError(Exit.unreachable, f"{service.base_url} cannot be reached: {printable(reason)}") from error
    if not response.is_success:
        raise refusal(response)
    return response


def _complain(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)  # noqa: T201
