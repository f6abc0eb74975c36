"""The reference of the settings, out of ``service.settings``."""

from pathlib import Path

from handbook.schema import Schema, kind, prose
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]

HEAD = f"""# Settings

Of `python -m service`, out of `service/settings.py`. Each is a flag, a variable of the environment or a line of a file
`.env`; a flag goes before the environment, and that before `.env`. A variable `{PREFIX}…` that is no setting is an
error. `python -m service config` prints what they come to.

"""


def page() -> str:
    """The page, in Markdown."""
    fields = Settings.model_json_schema()["properties"]
    return HEAD + "\n".join(_entry(name, field) for name, field in fields.items())


def _entry(name: str, field: Schema) -> str:
    facts = [f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", kind(field)]
    if field.get("default") not in (None, []):
        facts.append(f"default `{str(field['default']).removeprefix(f'{ROOT}/')}`")
    return f"### `{name}`\n\n{' · '.join(facts)}\n\n{prose(field['description'])}\n"
