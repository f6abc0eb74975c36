"""The reference page of the settings, generated from ``service.settings``."""

from pathlib import Path

from handbook.schema import Schema, kind, prose
from service.environment import PREFIX
from service.settings import Settings

ROOT = Path(__file__).parents[1]


def page() -> str:
    """The generated part of the page, in Markdown."""
    fields = Settings.model_json_schema()["properties"]
    return "\n".join(_entry(name, field) for name, field in fields.items())


def _entry(name: str, field: Schema) -> str:
    facts = [f"`--{name.replace('_', '-')}`", f"`{PREFIX}{name.upper()}`", kind(field)]
    if field.get("default") not in (None, []):
        facts.append(f"default `{str(field['default']).removeprefix(f'{ROOT}/')}`")
    return f"## `{name}`\n\n{' · '.join(facts)}\n\n{prose(field['description'])}\n"
