"""``GET /health``: for whoever starts, restarts and routes to the service."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel


class Live(BaseModel):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(BaseModel):
    """The models are loaded, checked and warm."""

    status: Literal["ready"] = "ready"
    models: list[str]


def router(names: list[str]) -> APIRouter:
    """The routes of a service whose models are loaded.

    Args:
        names: of the models.
    """
    routes = APIRouter(prefix="/health", tags=["health"])

    @routes.get("/live", summary="Whether the process answers")
    async def live() -> Live:
        return Live()

    @routes.get("/ready", summary="Whether the models are loaded")
    async def ready() -> Ready:
        return Ready(models=names)

    return routes
