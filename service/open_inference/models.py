"""What the service reports about itself and its models: metadata, configuration and statistics."""

from typing import Any

from pydantic import BaseModel, Field

from service import VERSION
from service.engine.model import ServedModel
from service.errors import UnknownModelError
from service.inference.data_plane import DataPlane
from service.open_inference.inputs import NAME, SHAPE
from service.open_inference.outputs import Output, outputs_of
from service.open_inference.request import LEVELS
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


SERVER = Server(name="odenet", version=VERSION, extensions=EXTENSIONS)


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


class Reports:
    """What a service reports about its models.

    Each method takes the name of a model, and one of its versions; None for the version that is served.

    Args:
        plane: holds the models.
        metrics: hold the statistics of all worker processes.
    """

    def __init__(self, plane: DataPlane, metrics: Metrics) -> None:
        self._plane = plane
        self._metrics = metrics

    async def model_ready(self, name: str, version: str | None) -> bool:
        """Whether a model is served.

        Raises:
            UnknownModelError: the models folder does not hold such a model either.
        """
        try:
            await self._plane.models.get(name, version)
        except UnknownModelError:
            if not self._plane.models.knows(name, version):
                raise
            return False
        return True

    async def metadata(self, name: str, version: str | None) -> ModelMetadata:
        """The metadata of a model.

        Raises:
            UnknownModelError: no such model is served.
        """
        return _metadata(await self._plane.models.get(name, version), self._plane.settings.backend)

    async def configuration(self, name: str, version: str | None) -> ModelConfiguration:
        """The configuration of a model.

        Raises:
            UnknownModelError: no such model is served.
        """
        settings = self._plane.settings
        return _configuration(await self._plane.models.get(name, version), settings.backend, settings.max_images)

    async def statistics(self, name: str, version: str | None) -> ModelStatistics:
        """The statistics of a model.

        Raises:
            UnknownModelError: no such model is served.
        """
        return await self._statistics([await self._plane.models.get(name, version)])

    async def all_statistics(self) -> ModelStatistics:
        """The statistics of all models that are served."""
        await self._plane.models.wait_until_current()
        return await self._statistics(list(self._plane.models))

    async def _statistics(self, models: list[ServedModel]) -> ModelStatistics:
        entries = await self._plane.run(
            lambda: [_statistics(model, self._metrics) for model in models], in_background=True
        )
        return ModelStatistics(model_stats=entries)


def _metadata(model: ServedModel, backend: str) -> ModelMetadata:
    def tensor(name: str, output: Output) -> Tensor:
        return Tensor(name=name, datatype=output.datatype, shape=[-1, *output.dims])

    return ModelMetadata(
        name=model.name,
        versions=[model.version],
        platform=PLATFORMS[backend],
        inputs=[Tensor(name=NAME, datatype="UINT8", shape=[-1, *SHAPE])],
        outputs=[tensor(name, output) for name, output in outputs_of(model).items()],
    )


def _configuration(model: ServedModel, backend: str, max_images: int) -> ModelConfiguration:
    solver = model.artifact.manifest.default_solver
    solver_settings = {} if solver is None else solver.model_dump(exclude_none=True)
    return ModelConfiguration(
        name=model.name,
        platform=PLATFORMS[backend],
        backend=PLATFORMS[backend].partition("_")[0],
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
    counted = metrics.statistics(model.name, model.version)
    phases = counted.seconds

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(1e9 * seconds)}

    return {
        "name": model.name,
        "version": model.version,
        "last_inference": round(1e3 * counted.last_answered),
        "inference_count": counted.rows,
        "execution_count": counted.iterations,
        "inference_stats": {
            "success": duration(counted.answered, sum(phases)),
            "fail": duration(counted.failed, 0),
            "queue": duration(counted.answered, phases.queue),
            "compute_input": duration(counted.answered, phases.decode + phases.stem),
            "compute_infer": duration(counted.answered, phases.solve),
            "compute_output": duration(counted.answered, phases.head),
        },
    }
