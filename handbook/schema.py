"""Markdown for JSON Schemas of pydantic."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from docstring_parser import parse

Schema = Mapping[str, Any]

BOUNDS = {"minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than"}


def sections(schemas: Mapping[str, Schema]) -> Iterator[str]:
    """One section for each schema, sorted by name, with its description and its fields."""
    for name, schema in sorted(schemas.items(), key=lambda item: title(item[0]).lower()):
        yield f"### {title(name)}\n\n{section(schema)}\n"


def folded(schemas: Mapping[str, Schema]) -> Iterator[str]:
    """One folded part for each schema, sorted by name. A link to the name of a schema opens its part."""
    for name, schema in sorted(schemas.items(), key=lambda item: title(item[0]).lower()):
        head = f'<details markdown="1" id="{title(name).lower()}"><summary>{title(name)}</summary>'
        yield f"{head}\n\n{section(schema)}\n</details>\n\n"


def section(schema: Schema) -> str:
    """The description of an object, and a table of its fields."""
    text, attributes = _docstring(schema)
    if "properties" not in schema:
        return f"{text}\n\n{kind(schema)}\n"
    required = schema.get("required", ())
    rows = [
        (
            f"`{name}`",
            typed(
                kind(field) + default(field) + ("; required" if name in required else ""),
                field.get("description") or attributes.get(name, ""),
            ),
        )
        for name, field in schema["properties"].items()
    ]
    return f"{text.strip()}\n\n{table(('field', 'type and meaning'), rows)}"


def typed(facts: str, text: str) -> str:
    """A cell with a type, and the meaning below. A table with a column for each would be too wide for a phone."""
    return "<br>".join(filter(None, [f'<span class="type">{facts}</span>', prose(text)]))


def prose(text: str) -> str:
    """A description in which Markdown finds no HTML tags."""
    return text.replace("<", "&lt;")


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def kind(schema: Schema) -> str:
    """The type that a schema describes, with its limits."""
    if "$ref" in schema:
        name = title(schema["$ref"].rpartition("/")[2])
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return " or ".join(dict.fromkeys(map(kind, choices)))
    text = _base(schema)
    limits = [f"{word} {_number(schema[bound])}" for bound, word in BOUNDS.items() if bound in schema]
    if "maxLength" in schema:
        limits.append(f"of at most {schema['maxLength']} characters")
    if "pattern" in schema:
        limits.append(f"that matches `{schema['pattern'].replace('|', chr(92) + '|')}`")
    return ", ".join([text, *limits])


def default(schema: Schema) -> str:
    """The default of a field, if it is a value."""
    return f"; default `{schema['default']}`" if schema.get("default") not in (None, [], ()) else ""


def title(name: str) -> str:
    """The name of a schema. If several schemas share a name, pydantic adds the module, which we put behind the name."""
    module, _, own = name.rpartition("__")
    return f"{own}-{module.replace('__', '-')}" if module else own


def _number(value: float) -> str:
    """A number as the other pages write it: 600,000, 0.5 or 1e-6."""
    return f"{int(value):,}" if value == int(value) else f"{value:g}".replace("e-0", "e-")


def _base(schema: Schema) -> str:
    match schema.get("type"):
        case "array" if "prefixItems" in schema:
            return f"list of {len(schema['prefixItems'])}: {', '.join(map(kind, schema['prefixItems']))}"
        case "array":
            return f"list of {kind(schema.get('items', {}))}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            return f"object, each value {kind(schema['additionalProperties'])}"
        case str(name):
            return str(schema.get("format", name))
        case _:
            return "anything"


def _docstring(schema: Schema) -> tuple[str, dict[str, str]]:
    """Split a description into the text and the descriptions of its attributes."""
    parsed = parse(schema.get("description", ""))
    attributes = {each.arg_name: " ".join((each.description or "").split()) for each in parsed.params}
    return parsed.description or "", attributes


def _cell(text: str) -> str:
    return " ".join(text.split())
