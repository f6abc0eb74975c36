"""``GET /models``: the models that are served, with their cards and their measured trade-offs."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from models.artifact import Manifest, MeasuredError
from models.profile import Profile
from models.solvers.settings import SolverSettings
from service.api.problems import ANY, documented
from service.engine.model import ServedModel
from service.errors import UnknownModelError
from service.hosting.manager import ModelManager


class ModelSummary(BaseModel):
    """A summary of one model."""

    name: str
    version: str
    default: bool = Field(description="Whether the model answers requests that name no model.")
    network: str
    parameters: int
    methods: list[str] = Field(description="Empty for a model without an ODE.")
    default_solver: SolverSettings | None = Field(description="Null for a model without an ODE.")
    metrics: list[MeasuredError]


class ModelDetails(BaseModel):
    """All details of one model."""

    manifest: Manifest
    profile: Profile | None = Field(
        description="The measured trade-off: error and cost by method and tolerance. Null for a model without an ODE."
    )
    card: str = Field(description="The model card, as Markdown.")


def router(models: ModelManager) -> APIRouter:
    """The routes for these models."""
    routes = APIRouter(prefix="/models", tags=["models"], responses=ANY)

    @routes.get("", summary="The models that are served")
    async def list_models() -> list[ModelSummary]:
        await models.wait_until_current()
        return [_summary(model, default=model is models.default) for model in models]

    @routes.get(
        "/{name}", summary="A model's manifest, card and measured trade-off", responses=documented(UnknownModelError)
    )
    async def get_model(name: str) -> ModelDetails:
        artifact = (await models.get(name)).artifact
        return ModelDetails(manifest=artifact.manifest, profile=artifact.profile, card=artifact.card)

    return routes


def _summary(model: ServedModel, *, default: bool) -> ModelSummary:
    manifest = model.artifact.manifest
    return ModelSummary(
        name=manifest.name,
        version=manifest.version,
        default=default,
        network=manifest.network,
        parameters=manifest.parameters,
        methods=manifest.methods,
        default_solver=manifest.default_solver,
        metrics=manifest.metrics,
    )
