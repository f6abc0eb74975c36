"""The reference pages of the HTTP interface, generated from the service's OpenAPI document: one page for each tag."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from handbook.schema import Schema, folded, kind, prose, table, typed
from service.app import create_app
from service.settings import Settings

SMALLEST = "mlp"
"""The model that loads the fastest. The document does not depend on the models."""

TITLES = {
    "predict": "POST /predict: routes and schemas",
    "models": "Models: routes and schemas",
    "health": "Health: routes and schemas",
    "observability": "Metrics: route",
    "open inference protocol": "Open Inference Protocol: routes and schemas",
}
"""The titles of the pages, by tag."""

LONGEST_TEXT, LONGEST_LIST = 40, 4
"""The longest text and list in an example. Longer ones are cut, because pictures fill pages."""

REFERENCE = "#/components/schemas/"

FLAT_LIST = re.compile(r"\[\s+([^\[\]{}]+?)\s+\]")
"""A list of numbers or texts in indented JSON, which an example shows on one line."""


def index() -> str:
    """The table of all routes, in Markdown."""
    rows = [
        (f"[`{method.upper()} {path}`](http-{_slug(tag)}.md)", route["summary"])
        for tag, method, path, route in _routes()
    ]
    return table(("route", "what it answers"), rows)


def page(tag: str) -> str:
    """The page of a tag, in Markdown."""
    routes = [(method, path, route) for each, method, path, route in _routes() if each == tag]
    schemas = _reachable([route for _, _, route in routes], openapi()["components"]["schemas"])
    text = "".join(_route(*route) for route in routes)
    head = f"# {TITLES[tag]}\n\nThis page is generated from the OpenAPI document. Click a schema to open it.\n\n"
    return f"{head}{text}## Schemas\n\n{''.join(folded(schemas))}"


def pages() -> dict[str, str]:
    """The tags, by the paths of their pages."""
    return {f"reference/http-{_slug(tag)}.md": tag for tag in TITLES}


@cache
def openapi() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    with TemporaryDirectory() as folder:
        (Path(folder) / SMALLEST).symlink_to(Path(Settings.model_fields["models"].default) / SMALLEST)
        return create_app(Settings(models=Path(folder), model=SMALLEST, workers=1)).openapi()


def _routes() -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """The tag, the method, the path and the description of each route."""
    for path, methods in openapi()["paths"].items():
        for method, route in methods.items():
            yield route["tags"][0], method, path, route


def _slug(tag: str) -> str:
    return tag.replace(" ", "-")


def _reachable(parts: list[Any], schemas: dict[str, Schema]) -> dict[str, Schema]:
    """The schemas that parts of the document refer to, directly or by other schemas."""
    found, waiting = dict[str, Schema](), [*parts]
    while waiting:
        match waiting.pop():
            case {"$ref": str(reference)} if (name := reference.removeprefix(REFERENCE)) not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])
            case dict() as part:
                waiting.extend(part.values())
            case list() as part:
                waiting.extend(part)
    return found


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    parts = [f"## `{method.upper()} {path}`\n\n{route['summary']}.\n"]
    if "description" in route:
        parts.append(prose(route["description"]) + "\n")
    if parameters := route.get("parameters"):
        rows = [(f"`{each['name']}`", typed(_place_and_type(each), _description(each))) for each in parameters]
        parts.append(table(("parameter", "type and meaning"), rows))
    if body := route.get("requestBody"):
        bodies = [(f"`{media}`", kind(content.get("schema", {}))) for media, content in body["content"].items()]
        parts.append(table(("body", "type"), bodies))
        parts.extend(_requests(body["content"]))
    responses = sorted(route["responses"].items())
    answers = [
        (f"`{status}`", typed(", ".join(_answer(answer)), answer["description"])) for status, answer in responses
    ]
    parts.append(table(("answer", "type and meaning"), answers))
    parts.extend(_first_answers(responses))
    return "\n".join(parts) + "\n"


def _requests(content: dict[str, Any]) -> Iterator[str]:
    """The examples of a body, each with the summary of its answer."""
    for media in content.values():
        for example in media.get("examples", {}).values():
            yield _example(example["summary"], _shortened(example["value"]))


def _first_answers(responses: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """The example of the good answer, and the example of the first error that has one."""
    examples = [
        (status, media["example"])
        for status, answer in responses
        for media in answer.get("content", {}).values()
        if "example" in media
    ]
    (_, good), *errors = examples
    yield _example("A good answer", good)
    for status, error in errors[:1]:
        yield _example(f"An error, with the status {status}", error)


def _example(summary: str, value: Any) -> str:
    """An example under its summary."""
    if isinstance(value, str):
        return f"{summary}:\n\n```text\n{value.rstrip()}\n```\n"
    text = FLAT_LIST.sub(
        lambda found: f"[{' '.join(found[1].split())}]", json.dumps(value, indent=2, ensure_ascii=False)
    )
    return f"{summary}:\n\n```json\n{text}\n```\n"


def _shortened(value: Any) -> Any:
    """An example with its long texts and lists cut."""
    match value:
        case str() if len(value) > LONGEST_TEXT:
            return f"{value[:LONGEST_TEXT]}…"
        case dict():
            return {name: _shortened(each) for name, each in value.items()}
        case list() if len(value) > LONGEST_LIST:
            return [*map(_shortened, value[:LONGEST_LIST]), "…"]
        case list():
            return [*map(_shortened, value)]
    return value


def _place_and_type(parameter: dict[str, Any]) -> str:
    """Where a parameter stands in the request, and its type. A request cannot send null there, so null is left out."""
    schema = parameter["schema"]
    if "anyOf" in schema:
        schema = schema | {"anyOf": [each for each in schema["anyOf"] if each != {"type": "null"}]}
    return f"{parameter['in']}, {kind(schema)}"


def _description(parameter: dict[str, Any]) -> str:
    return str(parameter.get("description") or parameter["schema"].get("description", ""))


def _answer(answer: dict[str, Any]) -> list[str]:
    return [f"`{media}`: {kind(content.get('schema', {}))}" for media, content in answer.get("content", {}).items()]
