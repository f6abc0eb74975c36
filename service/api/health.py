"""``GET /health``: for the programs that start and restart the service, and for load balancers."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.problems import ANY, documented
from service.errors import FieldError, NotReadyError
from service.inference.data_plane import DataPlane


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The models are loaded, checked and warm, and the default model is one of them."""

    status: Literal["ready"] = "ready"
    models: list[str]


def router(plane: DataPlane) -> APIRouter:
    """The health routes of a data plane."""
    routes = APIRouter(prefix="/health", tags=["health"], responses=ANY)

    @routes.get("/live", summary="Whether the process answers")
    async def live() -> Live:
        return Live()

    @routes.get("/ready", summary="Whether the models are loaded", responses=documented(NotReadyError))
    async def ready() -> Ready:
        if not await plane.ready():
            message = "is stopping, or cannot compute, or its default model is not loaded"
            raise NotReadyError(FieldError("service", message))
        return Ready(models=[model.name for model in plane.models])

    return routes
