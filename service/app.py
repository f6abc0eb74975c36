"""The application: models, engine, protocols and telemetry, put together."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

from service import VERSION
from service.api import catalogue, documentation, errors, health, predict, problems
from service.api import metrics as exposition
from service.api.gateway import Gateway
from service.api.v2 import errors as v2_errors
from service.api.v2 import infer, models, repository
from service.engine.engine import Engine
from service.engine.request import EngineRequest
from service.hosting.desired_state import DesiredState
from service.hosting.folder_watcher import watching
from service.hosting.manager import ModelManager
from service.inference.background import BackgroundThreads
from service.inference.data_plane import DataPlane
from service.open_inference.models import Reports
from service.processors import usable_processors
from service.security.guard import Guard
from service.security.headers import security_headers
from service.security.keys import Keys
from service.security.rates import Rates
from service.settings import Settings
from service.telemetry.load import LoadReporter
from service.telemetry.metrics import Metrics
from service.web import routes as web

if TYPE_CHECKING:
    from service.rpc.server import RpcServer
    from service.telemetry.tracing import Tracing

TITLE = "ODE-Net"
DESCRIPTION = (
    "A Neural ODE classifies handwritten digits: a network that replaces a stack of layers with a differential "
    "equation, which a solver solves for each image. Each request sets how precisely the service solves the equation: "
    "a tight `tolerance` is accurate, a loose one is fast. Networks without an equation are served for comparison."
)


NOT_TRACED: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


def create_app(settings: Settings, shared: Path | None = None) -> FastAPI:
    """Load the models and return the application that serves them.

    Args:
        settings: the settings of the service.
        shared: the folder that all worker processes share; None for a process that serves alone.

    Raises:
        ArtifactError: a model is corrupt, or the default model is missing.
        ValueError: the backend, the device or an extra is not available, or the file of API keys is invalid.
    """
    metrics, tracing = Metrics(shared), _tracing(settings)
    keys = None if settings.api_key_file is None else Keys(settings.api_key_file)
    desired = None if shared is None else DesiredState.shared(shared)
    manager = ModelManager.open(settings, desired, metrics.served, metrics.failed_to_load)
    metrics.set_queue_limit(settings.queue_seconds)

    def ended(request: EngineRequest) -> None:
        metrics.ended(request)
        if tracing is not None:
            tracing.ended(request)

    engine = Engine(
        settings.queue_seconds,
        settings.engine_threads,
        lambda iteration: metrics.changed(engine, iteration),
        ended,
    )
    load = LoadReporter(metrics, engine, settings.processes, max(1, settings.engine_threads))
    background = BackgroundThreads(max(1, usable_processors() // settings.processes))
    plane = DataPlane(manager, engine, background, settings)
    reports = Reports(plane, metrics)
    guard = None if keys is None else Guard(keys, Rates(shared))
    app = FastAPIOffline(
        title=TITLE,
        version=VERSION,
        description=DESCRIPTION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # the gateway removes needless slashes
        generate_unique_id_function=lambda route: route.name,  # generated clients name their functions after it
        lifespan=partial(_lifespan, plane, engine, tracing, shared, _rpc(plane, reports, metrics, guard, tracing)),
        telemetry=NOT_TRACED if tracing is None else tracing.config,
    )
    inference_routes = [predict.route(plane), *infer.routes(plane)]
    app.router.routes[:0] = inference_routes
    for router in (
        documentation.router(TITLE, "/openapi.json"),
        catalogue.router(manager),
        health.router(plane),
        exposition.router(metrics),
        models.router(plane, reports),
        repository.router(manager),
        web.router(keys=keys is not None),
    ):
        app.include_router(router)
    answers = errors.ErrorAnswers({"v2": v2_errors.error_response}, problems.problem_response, metrics.refused)
    answers.install(app)
    app.openapi = lambda: documentation.document(app, keys=keys is not None)  # type: ignore[method-assign]
    build = app.build_middleware_stack
    # The gateway encloses the whole app. So the gateway also sees the answers that the app gives to exceptions.
    app.build_middleware_stack = lambda: Gateway(  # type: ignore[method-assign]
        build(),
        # FastAPI traces only what it routes. So with tracing, FastAPI must route the inference requests too.
        [] if tracing is not None else inference_routes,
        answers,
        metrics,
        guard,
        settings.max_body_bytes,
        security_headers(tls=settings.tls_certificate is not None),
        load.headers,
        settings.cors_origins,
    )
    return app


def _tracing(settings: Settings) -> "Tracing | None":
    """The exporter of traces; None if the settings do not enable traces."""
    if not settings.traces:
        return None
    try:
        from service.telemetry.tracing import Tracing  # noqa: PLC0415 (OpenTelemetry is an extra)
    except ImportError as error:
        raise ValueError(f"traces: the extra tracing is not installed ({error})") from error
    return Tracing()


def _rpc(
    plane: DataPlane, reports: Reports, metrics: Metrics, guard: Guard | None, tracing: "Tracing | None"
) -> "Callable[[], RpcServer | None]":
    """A function that makes the gRPC server, on the event loop; it returns None if the settings do not enable gRPC."""
    if plane.settings.grpc_port is None:
        return lambda: None
    # gRPC is an extra. Also, a process must not import gRPC before it forks, and workers are forks.
    from service.rpc.server import RpcServer  # noqa: PLC0415

    return lambda: RpcServer(plane, reports, metrics, guard, tracing)


@asynccontextmanager
async def _lifespan(
    plane: DataPlane,
    engine: Engine,
    tracing: "Tracing | None",
    shared: Path | None,
    make_rpc: "Callable[[], RpcServer | None]",
    _app: FastAPI,
) -> AsyncIterator[dict[str, Any]]:
    """Run the engine from the start of the application to its end.

    Yields:
        The ASGI lifespan state. Our server reads the data plane and the gRPC server from this state.
    """
    gc.collect()
    # The objects that exist now are never freed. Without freeze, the garbage collector would scan them again and again,
    # and requests would wait.
    gc.freeze()
    async with engine.running(), watching(plane.models, plane.settings, shared):
        yield {"plane": plane, "rpc": make_rpc()}
    if tracing is not None:
        await asyncio.to_thread(tracing.close)
