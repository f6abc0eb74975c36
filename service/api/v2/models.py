"""``GET /v2`` and below: the server and its models, in the form of the protocol."""

from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from service.api.v2.body import LEVELS
from service.api.v2.errors import Answers, documented
from service.api.v2.inputs import NAME, SHAPE
from service.api.v2.outputs import Output, outputs_of
from service.engine.model import ServedModel
from service.errors import UnknownModelError
from service.inference.data_plane import DataPlane
from service.telemetry.metrics import Metrics

EXTENSIONS = [
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "model_repository(unload_dependents)",
    "parameters",
    "schedule_policy",
    "statistics",
]
PLATFORMS = {"onnxruntime": "onnxruntime_onnx", "torch": "pytorch_eager"}
TYPES = {"BYTES": "TYPE_STRING"}
"""Datatypes whose name in a configuration is not TYPE_ followed by the datatype."""


class Server(BaseModel):
    """The server."""

    name: str
    version: str
    extensions: list[str]


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


class Tensor(BaseModel):
    """An input or an output; -1 stands for the number of images."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """A model that is served."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class ModelStatistics(BaseModel):
    """The statistics of versions of models since the start of the service."""

    model_stats: list[dict[str, Any]] = Field(
        description="inference_count is the number of images; execution_count is the number of batch iterations. "
        "An iteration attempts one step for all rows of a batch."
    )


class ModelConfiguration(BaseModel):
    """A model in the form of Triton's ModelConfig."""

    name: str
    platform: str
    backend: str
    max_batch_size: int = Field(description="The greatest number of images in a request.")
    version_policy: dict[str, Any]
    input: list[dict[str, Any]]
    output: list[dict[str, Any]]
    dynamic_batching: dict[str, Any]
    parameters: dict[str, dict[str, str]]


class Address(NamedTuple):
    """The name of a model, and one of its versions; None for the version that is served."""

    name: str
    version: str | None


def _by_name(name: str) -> Address:
    return Address(name, None)


def _by_version(name: str, version: str) -> Address:
    return Address(name, version)


def router(plane: DataPlane, metrics: Metrics, server: Server) -> APIRouter:
    """The routes for the server and the models of a data plane."""
    routes = APIRouter(prefix="/v2", tags=["open inference protocol"], responses=documented())
    platform = PLATFORMS[plane.settings.backend]

    def not_ready(model: type[BaseModel]) -> Answers:
        return {503: {"description": "Not ready.", "model": model}}

    @routes.get("", summary="The server")
    async def get_server() -> Server:
        return server

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
        await plane.models.wait_until_current()
        models = list(plane.models)
        entries = await plane.run(lambda: [_statistics(model, metrics) for model in models], in_background=True)
        return ModelStatistics(model_stats=entries)

    for path, suffix, address in (
        ("/models/{name}", "", _by_name),
        ("/models/{name}/versions/{version}", "_by_version", _by_version),
    ):

        @routes.get(
            path, summary="A model", operation_id=f"get_metadata{suffix}", responses=documented(UnknownModelError)
        )
        async def get_metadata(model_address: Annotated[Address, Depends(address)]) -> ModelMetadata:
            return _metadata(await plane.models.get(*model_address), platform)

        @routes.get(
            f"{path}/ready",
            summary="Whether a model is served",
            operation_id=f"get_model_ready{suffix}",
            responses=documented(UnknownModelError) | not_ready(ModelReady),
        )
        async def get_model_ready(
            response: Response, model_address: Annotated[Address, Depends(address)]
        ) -> ModelReady:
            try:
                await plane.models.get(*model_address)
            except UnknownModelError:
                if not plane.models.knows(*model_address):
                    raise
                response.status_code = 503
                return ModelReady(name=model_address.name, ready=False)
            return ModelReady(name=model_address.name, ready=True)

        @routes.get(
            f"{path}/config",
            summary="A model's configuration",
            operation_id=f"get_config{suffix}",
            responses=documented(UnknownModelError),
        )
        async def get_config(model_address: Annotated[Address, Depends(address)]) -> ModelConfiguration:
            model = await plane.models.get(*model_address)
            return _configuration(model, platform, plane.settings.max_images)

        @routes.get(
            f"{path}/stats",
            summary="The statistics of a model",
            operation_id=f"get_statistics{suffix}",
            responses=documented(UnknownModelError),
        )
        async def get_statistics(model_address: Annotated[Address, Depends(address)]) -> ModelStatistics:
            model = await plane.models.get(*model_address)
            entry = await plane.run(lambda: _statistics(model, metrics), in_background=True)
            return ModelStatistics(model_stats=[entry])

    return routes


def _metadata(model: ServedModel, platform: str) -> ModelMetadata:
    def tensor(name: str, output: Output) -> Tensor:
        return Tensor(name=name, datatype=output.datatype, shape=[-1, *output.dims])

    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        platform=platform,
        inputs=[Tensor(name=NAME, datatype="UINT8", shape=[-1, *SHAPE])],
        outputs=[tensor(name, output) for name, output in outputs_of(model).items()],
    )


def _configuration(model: ServedModel, platform: str, max_images: int) -> ModelConfiguration:
    solver = model.artifact.manifest.default_solver
    solver_settings = {} if solver is None else solver.model_dump(exclude_none=True)
    return ModelConfiguration(
        name=model.name,
        platform=platform,
        backend=platform.partition("_")[0],
        max_batch_size=max_images,
        version_policy={"specific": {"versions": [int(model.version)]}},
        input=[{"name": NAME, "data_type": "TYPE_UINT8", "dims": list(SHAPE)}],
        output=[
            {
                "name": name,
                "data_type": TYPES.get(output.datatype, f"TYPE_{output.datatype}"),
                "dims": list(output.dims),
            }
            for name, output in outputs_of(model).items()
        ],
        dynamic_batching={"priority_levels": LEVELS, "default_priority_level": 2},
        parameters={name: {"string_value": str(value)} for name, value in solver_settings.items()},
    )


def _statistics(model: ServedModel, metrics: Metrics) -> dict[str, Any]:
    """The statistics of a model in the form of the statistics extension. Durations are sums over requests, in ns."""
    statistics = metrics.statistics(model.name, model.version)
    phases = statistics.seconds

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(1e9 * seconds)}

    return {
        "name": model.name,
        "version": model.version,
        "last_inference": round(1e3 * statistics.last_answered),
        "inference_count": statistics.rows,
        "execution_count": statistics.iterations,
        "inference_stats": {
            "success": duration(statistics.answered, sum(phases)),
            "fail": duration(statistics.failed, 0),
            "queue": duration(statistics.answered, phases.queue),
            "compute_input": duration(statistics.answered, phases.decode + phases.stem),
            "compute_infer": duration(statistics.answered, phases.solve),
            "compute_output": duration(statistics.answered, phases.head),
        },
    }
