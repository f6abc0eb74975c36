"""The commands of ``python -m service`` about settings and keys."""

import json
import sys
from typing import Annotated

from pydantic import BaseModel, Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from service.processors import usable_processors
from service.security.keys import Key, Scope, make_key, read_keys
from service.settings import Settings


class Config(Settings):
    """Print the settings that would be served by, as JSON, and what follows from them; no secret is among it."""

    model_config = SettingsConfigDict(cli_prog_name="python -m service config")

    def cli_cmd(self) -> None:
        """Print them.

        Raises:
            ValueError: the file of API keys is wrong.
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
    """Make an API key: its entry for the file of keys goes to the output, the key itself to the error output, once."""

    model_config = SettingsConfigDict(
        cli_prog_name="python -m service key", cli_kebab_case=True, use_attribute_docstrings=True
    )

    name: CliPositionalArg[Annotated[str, Key.model_fields["name"]]]
    """Whose it is, in logs."""

    scopes: Annotated[list[Scope], Field(min_length=1)] = [Scope.predict]
    """What it is for: predict, admin, metrics, parted by commas."""

    requests_per_minute: int | None = Field(default=None, ge=1)
    """How many requests it may make; as many as there is room for, if it is left out."""

    def cli_cmd(self) -> None:
        """Make it."""
        secret, entry = make_key(self.name, frozenset(self.scopes), self.requests_per_minute)
        print(entry)  # noqa: T201
        print(f"the key of {self.name}, which is kept nowhere: {secret}", file=sys.stderr)  # noqa: T201


COMMANDS: dict[str, type[BaseModel]] = {"config": Config, "key": MakeKey}
