"""``POST /v2/repository``: lists the versions in the models folder, and loads and unloads models."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from service.api.v2.body import read_object
from service.api.v2.errors import documented
from service.errors import (
    BrokenModelError,
    ForbiddenError,
    InvalidError,
    MalformedError,
    NotReadyError,
    TooLargeError,
    UnknownModelError,
)
from service.hosting.manager import ModelManager
from service.open_inference.request import relevant


class IndexRequest(BaseModel):
    """A request for the index."""

    ready: bool | None = Field(
        default=None, strict=True, description="Whether to list only the versions that are served."
    )


class IndexEntry(BaseModel):
    """A version of a model in the folder."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = Field(description="Why the version is not served; empty if it is served.")


class LoadParameters(BaseModel):
    """Parameters of a load. There are none, because the models folder holds all settings."""

    model_config = ConfigDict(extra="forbid")


class LoadRequest(BaseModel):
    """A request to load a model."""

    parameters: Annotated[LoadParameters, relevant(LoadParameters)] = Field(default_factory=LoadParameters)


class UnloadParameters(BaseModel):
    """Parameters of an unload."""

    model_config = ConfigDict(extra="forbid")

    unload_dependents: bool | None = Field(
        default=None, strict=True, description="Has no effect, because no model depends on another model."
    )


class UnloadRequest(BaseModel):
    """A request to unload a model."""

    parameters: Annotated[UnloadParameters, relevant(UnloadParameters)] = Field(default_factory=UnloadParameters)


BODIES = (IndexRequest, LoadRequest, UnloadRequest)
"""The bodies that the routes read without FastAPI. The OpenAPI document takes their schemas from here."""


class Done(BaseModel):
    """The model is loaded or unloaded."""


def router(models: ModelManager) -> APIRouter:
    """The routes for the models folder."""
    routes = APIRouter(prefix="/v2/repository", tags=["open inference protocol"])
    refused = documented(MalformedError, TooLargeError, InvalidError)
    refused_control = refused | documented(ForbiddenError, UnknownModelError, NotReadyError)

    @routes.post("/index", summary="The models folder", responses=refused, openapi_extra=_body(IndexRequest))
    async def get_index(request: Request) -> list[IndexEntry]:
        index_request = await read_object(request, IndexRequest)
        return [
            IndexEntry(name=name, version=version, state="READY" if ready else "UNAVAILABLE", reason=reason)
            for name, version, ready, reason in await models.index()
            if ready or not index_request.ready
        ]

    @routes.post(
        "/models/{name}/load",
        summary="Serve the greatest version of a model in the folder",
        responses=refused_control | documented(BrokenModelError),
        openapi_extra=_body(LoadRequest),
    )
    async def load(request: Request, name: str) -> Done:
        await read_object(request, LoadRequest)
        await models.load(name)
        return Done()

    @routes.post(
        "/models/{name}/unload",
        summary="Stop serving a model",
        responses=refused_control,
        openapi_extra=_body(UnloadRequest),
    )
    async def unload(request: Request, name: str) -> Done:
        await read_object(request, UnloadRequest)
        await models.unload(name)
        return Done()

    return routes


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The documentation of a body whose media type is ignored."""
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"content": {"application/json": {"schema": schema}}}}
