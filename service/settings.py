"""What the operator may set: by flag, by environment variable ``ODENET_*``, or in a file ``.env``."""

import re
import sys
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    CliApp,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from service.processors import usable_processors

Command = TypeVar("Command", bound=BaseModel)

PREFIX = "ODENET_"
ORIGIN = re.compile(r"\*|https?://[^/\s,]+")
"""Of a page: any, or a scheme, a host and perhaps a port (RFC 6454)."""


class Environment(EnvSettingsSource):
    """The environment, of which a variable with the prefix that is no setting is passed on, and so refused."""

    def __call__(self) -> dict[str, Any]:
        """The variables, by the names of settings."""
        ours = {name: value for name, value in self.env_vars.items() if name.startswith(PREFIX.lower())}
        return {name.removeprefix(PREFIX.lower()): value for name, value in ours.items()} | super().__call__()


class Settings(BaseSettings):
    """The settings of the service; a flag overrides the environment, which overrides ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",  # a .env may hold what is for others
        frozen=True,
        use_attribute_docstrings=True,
        cli_implicit_flags="toggle",
        cli_kebab_case=True,
        cli_prog_name="python -m service",
    )

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for every network that the machine is on."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 for any that is free."""

    api_key_file: Path | None = None
    """The API keys, one of which every request but those for health must then show; see docs/howto/secure.md."""

    no_auth: bool = False
    """That anybody who reaches an address other than loopback may ask. There, this or api_key_file must be set."""

    tls_certificate: Path | None = None
    """The certificate, and what it is signed by, as PEM: to serve https, and no http."""

    tls_key: Path | None = None
    """The certificate's private key, as PEM."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """The origins whose pages may ask, parted by commas, such as https://example.org; * for all."""

    client_seconds: float = Field(default=20, gt=0, le=3600)
    """How long a client may take to send a request whole, or to take more of an answer; then it is cut off."""

    keep_alive_seconds: int = Field(default=5, ge=1, le=3600)
    """How long a connection may idle after an answer; then it is closed."""

    models: Path = Path(__file__).parents[1] / "models" / "fitted"
    """The models folder: <name>/<version>/manifest.json. Of each name the greatest version is served."""

    model: str = "odenet-mnist"
    """The model that answers a request that names none."""

    watch_seconds: float | None = Field(default=None, ge=0)
    """How often the models folder is looked at for versions that have come or gone; 0 for not at all.
    [default: 5; with cuda, 0]"""

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

    grace_seconds: float = Field(default=2, ge=0)
    """How long the service, told to stop by SIGTERM, goes on accepting while /health/ready says 503, so that load
    balancers see it before connections are refused."""

    shutdown_seconds: int = Field(default=6, ge=0)
    """How long requests in flight may take to end after that."""

    model_control: bool = False
    """Whether callers may load and unload models of the folder, by /v2/repository."""

    traces: bool = False
    """Whether traces are exported by OpenTelemetry, whose variables OTEL_* say where to; it is the extra tracing."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is logged; from info on each request is."""

    log_format: Literal["text", "json"] = "text"
    """How: a line of text or an object of JSON for each record."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, after flags."""
        return init_settings, Environment(settings_cls), dotenv_settings

    @property
    def url(self) -> str:
        """Where it is reached, if the port is no 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls_certificate is None else 'https'}://{host}:{self.port}"

    @property
    def processes(self) -> int:
        """How many processes serve; the measurements behind the default are in docs/measurements.md."""
        if self.workers is not None:
            return self.workers
        return 1 if self.device == "cuda" else usable_processors()

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"must be a scheme, a host and perhaps a port, such as https://example.org; not {origin}"
                )
        return origins

    @model_validator(mode="after")
    def _who_may_ask_is_decided(self) -> Self:
        if self.no_auth and self.api_key_file is not None:
            raise ValueError("no_auth: says that anybody may ask, and api_key_file who may; it is one of them")
        if not (_is_loopback(self.host) or self.no_auth or self.api_key_file):
            raise ValueError(
                f"host: others may reach {self.host}; say who may ask by --api-key-file FILE, or by --no-auth that "
                "anybody may"
            )
        return self

    @model_validator(mode="after")
    def _a_certificate_has_its_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate, tls_key: one is of no use without the other")
        return self

    @property
    def seconds_between_looks(self) -> float:
        """How often the models folder is looked at; 0 for not at all.

        By default every five seconds: that is soon, beside the hours of a fit, and takes a thousandth of a processor.
        """
        if self.watch_seconds is not None:
            return self.watch_seconds
        return 0 if self.device == "cuda" else 5

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
        for field in ("model_control", "watch_seconds"):
            if self.device == "cuda" and getattr(self, field):
                raise ValueError(f"{field}: not with cuda, as a model that is loaded captures graphs beside others")
        return self


def read_command_line(command: type[Command], arguments: list[str]) -> Command:
    """Read a command line into a model, and run its command if it has one.

    Raises:
        SystemExit: an argument or a setting is wrong, or the command failed; the exit status is 1, and a line on the
            error output gives the reason.
    """
    try:
        return CliApp.run(command, cli_args=arguments)
    except ValidationError as error:
        sys.exit(f"error: settings: {describe(error)}")
    except (SettingsError, ValueError) as error:
        sys.exit(f"error: {error}")


def describe(error: ValidationError) -> str:
    """What is wrong with the settings, in a line."""
    return "; ".join(_describe(each["type"], ".".join(map(str, each["loc"])), each["msg"]) for each in error.errors())


def _describe(kind: str, name: str, message: str) -> str:
    if kind != "extra_forbidden":
        return f"{name}: {message}".removeprefix(": ").replace("Value error, ", "")
    near = get_close_matches(name, Settings.model_fields, 1, 0)
    return f"{PREFIX}{name.upper()} is no setting; the nearest is {PREFIX}{near[0].upper()}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
