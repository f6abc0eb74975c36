"""``GET /v2`` and below: the server and its models, in the form of the protocol."""

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel

from service.api.v2.errors import Answers, documented
from service.errors import UnknownModelError
from service.inference.data_plane import DataPlane
from service.open_inference.models import (
    SERVER,
    ModelConfiguration,
    ModelMetadata,
    ModelStatistics,
    Reports,
    Server,
)


class ServerLive(BaseModel):
    """Whether the process answers."""

    live: bool = True


class ServerReady(BaseModel):
    """Whether the service would answer a request for inference."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model is served."""

    name: str
    ready: bool


class Address(NamedTuple):
    """The name of a model, and one of its versions; None for the version that is served."""

    name: str
    version: str | None


def _by_name(name: str) -> Address:
    return Address(name, None)


def _by_version(name: str, version: str) -> Address:
    return Address(name, version)


def router(plane: DataPlane, reports: Reports) -> APIRouter:
    """The routes for the server and the models of a data plane."""
    routes = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=documented())

    def not_ready(model: type[BaseModel]) -> Answers:
        return {503: {"description": "Not ready.", "model": model}}

    @routes.get("", summary="The server")
    async def get_server() -> Server:
        return SERVER

    @routes.get("/health/live", summary="Whether the process answers")
    async def server_live() -> ServerLive:
        return ServerLive()

    @routes.get("/health/ready", summary="Whether the default model is served", responses=not_ready(ServerReady))
    async def server_ready(response: Response) -> ServerReady:
        is_ready = await plane.ready()
        response.status_code = 200 if is_ready else 503
        return ServerReady(ready=is_ready)

    # This route comes before the routes of a model, which would take "stats" for the name of a model.
    @routes.get("/models/stats", summary="The statistics of all models")
    async def get_all_statistics() -> ModelStatistics:
        return await reports.all_statistics()

    for path, suffix, address in (
        ("/models/{name}", "", _by_name),
        ("/models/{name}/versions/{version}", "_by_version", _by_version),
    ):

        @routes.get(
            path, summary="A model", operation_id=f"get_metadata{suffix}", responses=documented(UnknownModelError)
        )
        async def get_metadata(model_address: Annotated[Address, Depends(address)]) -> ModelMetadata:
            return await reports.metadata(*model_address)

        @routes.get(
            f"{path}/ready",
            summary="Whether a model is served",
            operation_id=f"get_model_ready{suffix}",
            responses=documented(UnknownModelError) | not_ready(ModelReady),
        )
        async def get_model_ready(
            response: Response, model_address: Annotated[Address, Depends(address)]
        ) -> ModelReady:
            is_ready = await reports.model_ready(*model_address)
            response.status_code = 200 if is_ready else 503
            return ModelReady(name=model_address.name, ready=is_ready)

        @routes.get(
            f"{path}/config",
            summary="A model's configuration",
            operation_id=f"get_config{suffix}",
            responses=documented(UnknownModelError),
        )
        async def get_config(model_address: Annotated[Address, Depends(address)]) -> ModelConfiguration:
            return await reports.configuration(*model_address)

        @routes.get(
            f"{path}/stats",
            summary="The statistics of a model",
            operation_id=f"get_statistics{suffix}",
            responses=documented(UnknownModelError),
        )
        async def get_statistics(model_address: Annotated[Address, Depends(address)]) -> ModelStatistics:
            return await reports.statistics(*model_address)

    return routes
