"""The OpenAPI document, and ``GET /docs``, a page on which people read and try the API. The page works offline."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from pydantic.json_schema import models_json_schema

from service.api.answer_examples import ANSWER_EXAMPLES
from service.api.body import PredictBody
from service.api.errors import STATUS
from service.api.problems import Problem, described
from service.api.v2 import repository
from service.errors import ForbiddenError, RateLimitedError, UnauthenticatedError
from service.open_inference.request import InferRequest
from service.security.guard import OPEN

STATIC = "static-offline-docs"
"""The path at which `fastapi_offline` serves the scripts and the styles of the page.

The links of the page and the server in the document are relative. So they also work behind a proxy that serves the
service under a path of its own. The service need not know this path.
"""

POLICY = (
    "default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of the page. The digest allows the one inline script of the page and no other."""

PATH_EXAMPLES = {"name": "odenet-mnist", "version": "5"}
PATH_DESCRIPTIONS = {"name": "The name of a model, from GET /models.", "version": "The version that is served."}
OF_VERSION = "/versions/{version}"
"""The part of a path that names a version of a model."""

SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "An API key."},
    "password": {"type": "http", "scheme": "basic", "description": "An API key as the password of any user."},
}


def document(app: FastAPI, *, keys: bool) -> dict[str, Any]:
    """The OpenAPI document.

    Some routes read and write bodies without FastAPI. We add their schemas, and the ways to send an API key.

    Args:
        app: the application whose routes are documented.
        keys: whether the routes need API keys.
    """
    if app.openapi_schema is None:
        openapi = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        openapi["servers"] = [{"url": ".", "description": "The folder of this document."}]
        read, written = (PredictBody, InferRequest, *repository.BODIES), (Problem,)
        _, schemas = models_json_schema(
            [*((model, "validation") for model in read), *((model, "serialization") for model in written)],
            ref_template="#/components/schemas/{model}",
        )
        openapi["components"]["schemas"].update(schemas["$defs"])
        _fill_in_paths(openapi)
        _add_answers(openapi)
        if keys:
            openapi["components"]["securitySchemes"] = SCHEMES
            openapi["security"] = [{name: []} for name in SCHEMES]
            for path, operations in openapi["paths"].items():
                for operation in operations.values():
                    _document_key_errors(operation) if path not in OPEN else operation.update(security=[])
        app.openapi_schema = openapi
    return app.openapi_schema


def _fill_in_paths(openapi: dict[str, Any]) -> None:
    """Give the parameters of paths descriptions, and examples, which the page fills in."""
    for operations in openapi["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path":
                    parameter["description"] = PATH_DESCRIPTIONS[parameter["name"]]
                    parameter["example"] = PATH_EXAMPLES[parameter["name"]]


def _add_answers(openapi: dict[str, Any]) -> None:
    """Give the good answer of each operation an example. If it has several media types, the first is JSON."""
    for path, operations in openapi["paths"].items():
        for operation in operations.values():
            answer = operation["responses"]["200"]
            if answer["description"] == "Successful Response":  # FastAPI's text, which says nothing
                answer["description"] = "The answer."
            content = next(iter(answer["content"].values()))
            content["example"] = ANSWER_EXAMPLES[path.replace(OF_VERSION, "")]


def _document_key_errors(operation: dict[str, Any]) -> None:
    """Document an operation's answers to a wrong key, a missing scope and too many requests, like its other errors."""
    for error in (UnauthenticatedError, ForbiddenError, RateLimitedError):
        answer = {**operation["responses"]["default"], "description": described(error)}
        operation["responses"].setdefault(str(int(STATUS[error])), answer)


def router(title: str, document: str) -> APIRouter:
    """The route to the page that shows an OpenAPI document."""
    page = get_swagger_ui_html(
        openapi_url=document.removeprefix("/"),
        title=title,
        swagger_js_url=f"{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{STATIC}/favicon.png",
    )
    (script,) = re.findall(rb"<script>(.*?)</script>", page.body, re.DOTALL)
    page.headers["content-security-policy"] = POLICY.format(digest=b64encode(sha256(script).digest()).decode())
    routes = APIRouter()

    @routes.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        if request.scope["raw_path"].endswith(b"/"):  # the relative links of the page would lead elsewhere
            return RedirectResponse("../docs")
        return page

    return routes
