"""The reference page of an artifact's files, generated from ``models.artifact`` and ``models.profile``."""

from handbook.schema import Schema, section, sections
from models.artifact import Manifest
from models.profile import Profile


def page() -> str:
    """The generated part of the page, in Markdown."""
    parts, shared = list[str](), dict[str, Schema]()
    for file, form in (("manifest.json", Manifest), ("profile.json", Profile)):
        schema = form.model_json_schema()
        shared |= schema.get("$defs", {})
        parts.append(f"## `{file}`\n\n{section(schema)}\n")
    return "".join([*parts, "## Types in both files\n\n", *sections(shared)])
