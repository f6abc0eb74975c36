"""The reference page of the command lines, generated from the programs."""

import io
import re
from contextlib import redirect_stdout, suppress
from pathlib import Path

from pydantic import BaseModel
from pydantic_settings import CliApp
from typer import Context
from typer.cli import get_docs_for_click
from typer.main import get_command

from handbook.schema import table
from service.cli.arguments import parser
from service.cli.commands import COMMANDS
from service.settings import Settings
from training.cli import app

SERVICE = """
## `python -m service`

Starts the service with the [settings](settings.md). With one of the following words first, it does something else.

"""
MAKEFILE = Path(__file__).parents[1] / "Makefile"
TARGET = re.compile(r"^([a-z-]+):.*##\s+(.*)$", re.MULTILINE)


def page() -> str:
    """The generated part of the page, in Markdown."""
    make = table(("target", "what it does"), [(f"`{target}`", text) for target, text in targets().items()])
    predict = f"### `python -m service predict`\n\n```text\n{parser().format_help().strip()}\n```\n\n"
    service = [_command(name, command) for name, command in COMMANDS.items()]
    return "".join([f"## `make`\n\n{make}", SERVICE, predict, *service, _training()])


def targets() -> dict[str, str]:
    """The targets of the Makefile, each with its description."""
    return dict(TARGET.findall(MAKEFILE.read_text(encoding="utf-8")))


def _command(name: str, command: type[BaseModel]) -> str:
    if issubclass(command, Settings):
        text = f"{command.__doc__} It takes the same settings."
    else:
        text = f"```text\n{_help(command)}\n```"
    return f"### `python -m service {name}`\n\n{text}\n\n"


def _help(command: type[BaseModel]) -> str:
    """The output of a command with ``--help``."""
    with redirect_stdout(io.StringIO()) as output, suppress(SystemExit):
        CliApp.run(command, cli_args=["--help"])
    return output.getvalue().strip()


def _training() -> str:
    command = get_command(app)
    return get_docs_for_click(obj=command, ctx=Context(command), indent=1, name="python -m training")
