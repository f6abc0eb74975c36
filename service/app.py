"""The application: models, workers and routes, put together."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import RedirectResponse
from fastapi_offline import FastAPIOffline
from pydantic.json_schema import models_json_schema
from starlette.requests import ClientDisconnect

from service.api import catalogue, health, predict, problems
from service.api.body import PredictBody
from service.api.limits import BodyLimit, Shedding
from service.engine.compute import Workers
from service.engine.engine import Engine
from service.engine.processors import usable_processors
from service.errors import AbandonedError
from service.registry import Registry
from service.settings import Settings

TITLE = "ODE-Net"
VERSION = "0.1.0"
DESCRIPTION = (
    "Handwritten digits by a Neural ODE. The depth of the network is the solve of a differential equation, and each "
    "request says how precisely: a tight `tolerance` is accurate, a loose one is fast. Networks that solve no "
    "equation are served for comparison."
)


def create_app(settings: Settings) -> FastAPI:
    """Load the models and return the application that serves them.

    Raises:
        ArtifactError: a model is corrupt, or the default one is missing.
        ValueError: the backend or the device is not to be had.
    """
    models = Registry.load(settings)
    engine = Engine(models.get(None), settings.queue_rows, settings.threads)
    workers = Workers(max(1, usable_processors() // settings.processes))
    app = FastAPIOffline(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        redoc_url=None,
        responses=problems.ANY,
        lifespan=partial(_lifespan, engine),
    )
    app.add_middleware(BodyLimit, most=settings.max_body_bytes)
    app.add_middleware(Shedding, admission=engine.admission, paths=["/predict"], max_images=settings.max_images)
    app.state.engine = engine
    app.router.routes.insert(0, predict.route(models, engine, workers, settings))
    app.include_router(catalogue.router(models))
    app.include_router(health.router([model.name for model in models]))
    problems.install(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]

    @app.get("/", include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse("/docs")

    @app.exception_handler(ClientDisconnect)
    @app.exception_handler(AbandonedError)
    async def _(_request: Request, _error: Exception) -> Response:
        return Response(status_code=400)  # nobody reads it

    return app


@asynccontextmanager
async def _lifespan(engine: Engine, _app: FastAPI) -> AsyncIterator[None]:
    """From the start of the application to its end."""
    gc.collect()
    gc.freeze()  # what is there now stays; to look through it for garbage again and again would hold everybody up
    async with engine.running():
        yield


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The document, with the schemas of what routes read and write by themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, schemas = models_json_schema(
            [(PredictBody, "validation"), (problems.Problem, "serialization")],
            ref_template="#/components/schemas/{model}",
        )
        document["components"]["schemas"].update(schemas["$defs"])
        app.openapi_schema = document
    return app.openapi_schema
