"""The reference page of the HTTP interface, generated from the service's OpenAPI document."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from handbook.schema import kind, prose, sections, table
from service.app import create_app
from service.settings import Settings

HEAD = """# HTTP interface

This page is generated from the OpenAPI document. A running service has this document at `/openapi.json`, and a page to
try each route at `/docs`. [`POST /predict`](predict.md) and the [Open Inference Protocol](open-inference-protocol.md)
have pages of their own. [Ask for a prediction](../howto/ask.md) has examples.

"""
SMALLEST = "mlp"
"""The model that loads the fastest. The document does not depend on the models."""


def page() -> str:
    """The page, in Markdown."""
    document = openapi()
    routes = [
        _route(method, path, route) for path, methods in document["paths"].items() for method, route in methods.items()
    ]
    return f"{HEAD}## Routes\n\n{''.join(routes)}## Schemas\n\n{''.join(sections(document['components']['schemas']))}"


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the service."""
    with TemporaryDirectory() as folder:
        (Path(folder) / SMALLEST).symlink_to(Path(Settings.model_fields["models"].default) / SMALLEST)
        return create_app(Settings(models=Path(folder), model=SMALLEST, workers=1)).openapi()


def _route(method: str, path: str, route: dict[str, Any]) -> str:
    parts = [f"### `{method.upper()} {path}`\n\n{route['summary']}.\n"]
    if "description" in route:
        parts.append(prose(route["description"]) + "\n")
    if parameters := route.get("parameters"):
        rows = [
            (f"`{each['name']}`", f"{each['in']}, {kind(each['schema'])}", _description(each)) for each in parameters
        ]
        parts.append(table(("parameter", "", ""), rows))
    if body := route.get("requestBody"):
        bodies = [(f"`{media}`", kind(content.get("schema", {}))) for media, content in body["content"].items()]
        parts.append(table(("body", ""), bodies))
    answers = [
        (f"`{status}`", ", ".join(_answer(answer)), answer["description"])
        for status, answer in sorted(route["responses"].items())
    ]
    parts.append(table(("answer", "", ""), answers))
    return "\n".join(parts) + "\n"


def _description(parameter: dict[str, Any]) -> str:
    return prose(parameter.get("description") or parameter["schema"].get("description", ""))


def _answer(answer: dict[str, Any]) -> list[str]:
    return [f"`{media}`: {kind(content.get('schema', {}))}" for media, content in answer.get("content", {}).items()]
