"""What the operator may set: by flag, by environment variable ``ODENET_*``, or in a file ``.env``."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.engine.processors import usable_processors


class Settings(BaseSettings):
    """The settings of the service; a flag overrides the environment, which overrides ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix="ODENET_",
        env_file=".env",
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",  # a .env may hold what is for others
        frozen=True,
        use_attribute_docstrings=True,
        cli_implicit_flags=True,
        cli_kebab_case=True,
        cli_prog_name="python -m service",
    )

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for every network that the machine is on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 for any that is free."""

    models: Path = Path(__file__).parents[1] / "models" / "fitted"
    """The models folder: <name>/<version>/manifest.json. Of each name the greatest version is served."""

    model: str = "odenet-mnist"
    """The model that answers a request that names none."""

    backend: Literal["onnxruntime", "torch"] = "onnxruntime"
    """What computes. torch must be installed to be chosen."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Where it computes; cuda needs an onnxruntime or a torch that was built for it."""

    workers: int | None = Field(default=None, ge=1, le=256)
    """Processes that serve, each with an engine of its own.  [default: the processors there are; with cuda, 1]"""

    threads: int = Field(default=1, ge=1, le=256)
    """Threads of each process that compute, each with an in-flight batch of its own."""

    queue_rows: int = Field(default=1024, ge=1)
    """The images that may wait for each engine; a request that does not fit is refused with 429."""

    floor: float = Field(default=0.99, ge=0, le=1)
    """The least agreement with a tight reference, in the measured profile, of the settings by which a busy service
    answers those who allow it."""

    max_body_bytes: int = Field(default=8 * 2**20, ge=1024)
    """The largest body of a request; a larger one is refused with 413."""

    max_pixels: int = Field(default=16 * 2**20, ge=784)
    """The largest picture that is decoded, in pixels; a larger one is refused with 413."""

    max_images: int = Field(default=256, ge=1)
    """The most images in one request; more are refused with 413."""

    shutdown_seconds: int = Field(default=8, ge=0)
    """How long requests in flight may take to end once the service is told to stop."""

    model_control: bool = False
    """Whether callers may load and unload models of the folder, by /v2/repository."""

    traces: bool = False
    """Whether traces are exported by OpenTelemetry, whose variables OTEL_* say where to; it is the extra tracing."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged; from info on each request is."""

    log_format: Literal["text", "json"] = "text"
    """How: a line of text or an object of JSON for each record."""

    @property
    def processes(self) -> int:
        """How many processes serve; the measurements behind the default are in docs/measurements.md."""
        if self.workers is not None:
            return self.workers
        return 1 if self.device == "cuda" else usable_processors()

    @model_validator(mode="after")
    def _every_list_fits_the_queue(self) -> Self:
        if self.max_images > self.queue_rows:
            raise ValueError(
                f"max_images: {self.max_images:,} images of a request would never fit the queue; "
                f"queue_rows is {self.queue_rows:,}"
            )
        return self

    @model_validator(mode="after")
    def _a_device_is_computed_on_by_one_thread(self) -> Self:
        if self.device == "cuda" and self.threads > 1:
            raise ValueError(
                f"threads: with cuda it is 1, as one thread at a time may capture graphs; not {self.threads}"
            )
        if self.device == "cuda" and self.model_control:
            raise ValueError("model_control: not with cuda, as a model that is loaded captures graphs beside others")
        return self
