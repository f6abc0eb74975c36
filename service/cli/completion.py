"""The command ``python -m service completion`` prints a script. With the script, a shell completes arguments."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic_settings import SettingsConfigDict

from service import PROGRAM
from service.security.keys import Scope
from service.settings import Settings

ROOT = Path(__file__).parents[2]

SCRIPT = """\
# bash: eval "$({program} completion)"; zsh needs `autoload -U bashcompinit && bashcompinit` before.
{command}
_odenet() {{
  local words
  case "$3" in
{choices}
    *) case "${{COMP_WORDS[1]}}" in
{flags}
    esac ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$2"))
}}
complete -o default -F _odenet odenet
"""

COMMAND = 'odenet() {{ PYTHONPATH={} {} -m service "$@"; }}'


class Completion(BaseModel):
    """Print a script for bash or zsh. With it, a shell completes the arguments of odenet.

    Without an installation, the script also defines odenet as a short name for this program.
    """

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} completion")

    def cli_cmd(self) -> None:
        """Print the script."""
        print(script())  # noqa: T201


def script() -> str:
    """The script."""
    from service.cli.arguments import parser  # noqa: PLC0415 (the other commands start sooner without this import)
    from service.engine.plan import ADAPTIVE, FIXED  # noqa: PLC0415

    actions = parser()._actions
    settings = [_flag(name) for name in Settings.model_fields]
    flags = {
        "predict": [option for action in actions for option in action.option_strings],
        "config": [*settings, "--help"],
        "key": ["--scopes", "--requests-per-minute", "--help"],
        "completion": ["--help"],
        "serve": [*settings, "--help"],
        "*": ["serve", "predict", "config", "key", "completion", *settings, "--help", "--version"],
    }
    choices = {_flag(name): [*get_args(field.annotation)] for name, field in _literals(Settings)}
    choices |= {action.option_strings[0]: [*action.choices] for action in actions if action.choices}
    choices |= {"--method": [*ADAPTIVE, *FIXED], "--scopes": [scope.value for scope in Scope]}
    return SCRIPT.format(
        program=PROGRAM,
        command="" if PROGRAM == "odenet" else COMMAND.format(*map(shlex.quote, (str(ROOT), sys.executable))),
        choices="\n".join(_case(word, words, "    ") for word, words in choices.items()),
        flags="\n".join(_case(word, words, "      ") for word, words in flags.items()),
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _literals(model: type[BaseModel]) -> Iterable[tuple[str, Any]]:
    """The fields of a model that have a few choices."""
    return ((name, field) for name, field in model.model_fields.items() if get_origin(field.annotation) is Literal)


def _case(word: str, words: Iterable[str], indent: str) -> str:
    """A branch of the script: the words that complete an argument after a word."""
    return f'{indent}{word}) words="{" ".join(words)}" ;;'
