"""The commands ``python -m service config`` and ``python -m service key``."""

import json
import sys
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from service import PROGRAM
from service.cli.completion import Completion
from service.processors import usable_processors
from service.security.keys import Key, Scope, make_key, read_keys
from service.settings import Settings


class Config(Settings):
    """Print the settings with which the service would run, and the resulting plan, as JSON without secrets."""

    model_config = SettingsConfigDict(cli_prog_name=f"{PROGRAM} config")

    def cli_cmd(self) -> None:
        """Print the settings.

        Raises:
            ValueError: the file of API keys is invalid.
        """
        keys = () if self.api_key_file is None else read_keys(self.api_key_file)
        plan = {
            "url": self.url,
            "processors": usable_processors(),
            "processes": self.processes,
            "keys": [key.model_dump(mode="json", exclude={"sha256"}) for key in keys],
        }
        given = sorted(self.model_fields_set)
        print(json.dumps({"settings": self.model_dump(mode="json"), "set": given, "plan": plan}, indent=2))  # noqa: T201


class MakeKey(BaseModel):
    """Make an API key. Print its entry for the file of keys to standard output, and the key to standard error, once."""

    model_config = SettingsConfigDict(
        cli_prog_name=f"{PROGRAM} key", cli_kebab_case=True, use_attribute_docstrings=True
    )

    name: CliPositionalArg[Annotated[str, Key.model_fields["name"]]]
    """The name of the owner, for logs."""

    scopes: Annotated[list[Scope], Field(min_length=1)] = [Scope.predict]
    """The scopes of the key, separated by commas: predict, admin, metrics."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """The greatest number of requests per minute. Without this flag there is no limit."""

    def cli_cmd(self) -> None:
        """Make the key.

        Raises:
            ValueError: the output goes into a file of keys that is invalid, or has a key with this name.
        """
        if self.name in {key.name for key in _keys_in_output()}:
            raise ValueError(f"name: the file already has a key with the name {self.name}; choose another name")
        secret, entry = make_key(self.name, frozenset(self.scopes), self.requests_per_minute)
        print(entry)  # noqa: T201
        print(f"the key of {self.name}, which is stored nowhere: {secret}", file=sys.stderr)  # noqa: T201


def _keys_in_output() -> tuple[Key, ...]:
    """The keys in the file to which the standard output is appended; none if the output is no file (Linux only)."""
    output = Path("/proc/self/fd/1")
    return read_keys(output.resolve()) if output.is_file() else ()


COMMANDS: dict[str, type[BaseModel]] = {"config": Config, "key": MakeKey, "completion": Completion}
