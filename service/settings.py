"""The settings of the service: by flag, by environment variable ``ODENET_*``, or in a file ``.env``."""

import os
import re
import sys
from collections.abc import Mapping
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

from models.artifact import FITTED
from service import PROGRAM
from service.environment import KEY, PREFIX, variables
from service.errors import shortened
from service.processors import usable_processors

Command = TypeVar("Command", bound=BaseModel)

ORIGIN = re.compile(r"\*|https?://[^/\s,]+")
"""The origin of a page: a scheme, a host and optionally a port (RFC 6454); or * for any origin."""


class Environment(EnvSettingsSource):
    """Reads environment variables. It keeps unknown variables with our prefix, so that validation refuses them."""

    def __call__(self) -> dict[str, Any]:
        """The variables, by the names of the settings."""
        ours = {name.removeprefix(PREFIX.lower()): value for name, value in self.env_vars.items()}
        return ours | super().__call__()

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in variables(os.environ).items()}


class Settings(BaseSettings):
    """The settings of the service. A flag overrides the environment, and the environment overrides ``.env``."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        dotenv_filtering="match_prefix",  # a .env may also hold variables of other programs
        frozen=True,
        use_attribute_docstrings=True,
        cli_implicit_flags="toggle",
        cli_kebab_case=True,
        cli_prog_name=PROGRAM,
    )

    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 for all networks of the machine, and :: for all networks with IPv6 and IPv4."""

    port: int = Field(default=8000, ge=0, le=65535)
    """The port to listen on; 0 for any free port."""

    grpc_port: int | None = Field(default=None, ge=0, le=65535)
    """The port for gRPC, by convention 9000; 0 for any free port. Needs the extra grpc.  [default: no gRPC]"""

    api_key_file: Path | None = None
    """The file of API keys. With it, every request except those for health needs a key; see docs/howto/secure.md."""

    no_auth: bool = False
    """Whether everybody who reaches the service may use it without a key. An address other than loopback needs either
    this setting or api_key_file."""

    tls_certificate: Path | None = None
    """The certificate and its chain, as PEM. With it, the service accepts only https."""

    tls_key: Path | None = None
    """The private key of the certificate, as PEM."""

    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """The origins whose pages may send requests, separated by commas, such as https://example.org; * for all."""

    client_seconds: float = Field(default=20, gt=0, le=3600)
    """How long a client may take to send a whole request, or to accept more of an answer, before it is disconnected."""

    keep_alive_seconds: int = Field(default=75, ge=1, le=3600)
    """How long a connection may be idle after an answer before it is closed. It should be longer than a proxy keeps its
    connections (60 s by default for nginx), so that no request meets a connection that is being closed."""

    models: Path = FITTED
    """The models folder: <name>/<version>/manifest.json. The service uses the greatest version of each name. The folder
    may also be a single artifact, with the manifest in the folder itself."""

    model: str = "odenet-mnist"
    """The default model, which answers requests that name no model."""

    watch_seconds: float = Field(default=5, ge=0, le=86_400)
    """The interval in seconds at which the models folder is checked for new and removed versions; 0 for never."""

    backend: Literal["onnxruntime", "torch"] = "onnxruntime"
    """The library that computes. torch must be installed to be chosen."""

    device: Literal["cpu", "cuda"] = "cpu"
    """The device that computes. cuda needs an onnxruntime or a torch that was built for it."""

    workers: int | None = Field(default=None, ge=1, le=256)
    """The number of worker processes, each with an engine of its own.
    [default: the number of usable processors; with cuda, 1]"""

    threads: int | None = Field(default=None, ge=1, le=256)
    """The number of threads of each worker process that compute next to its event loop, each with its own batches.
    [default: none, because the event loop computes between serving connections; with cuda, 1]"""

    queue_seconds: float = Field(default=2, gt=0, le=600)
    """The longest time by which other work may delay an answer. A request that is expected to be delayed more, by the
    work in the queue, is refused at once with 429. If later work delays a request for longer, the request is refused
    before it starts."""

    floor: float = Field(default=0.99, ge=0, le=1)
    """The least agreement with a tight reference, in the measured profile, of the solver settings that a busy service
    may choose for requests that allow it. For a ladder, the lower bound of the agreement counts."""

    max_body_bytes: int = Field(default=8 * 2**20, ge=1024)
    """The greatest number of bytes in the body of a request. A larger body is refused with 413."""

    max_pixels: int = Field(default=16 * 2**20, ge=784)
    """The greatest number of pixels of a picture. A larger picture is refused with 413."""

    max_images: int = Field(default=256, ge=1)
    """The greatest number of images in one request. A request with more images is refused with 413."""

    grace_seconds: float = Field(default=2, ge=0, le=3600)
    """How long the service goes on accepting requests after SIGTERM, while /health/ready answers 503. In this time
    load balancers can notice that the service is stopping."""

    shutdown_seconds: int = Field(default=6, ge=0, le=3600)
    """How long requests in flight may take to end after grace_seconds."""

    model_control: bool = False
    """Whether callers may load and unload the models of the folder, by /v2/repository."""

    traces: bool = False
    """Whether to export traces by OpenTelemetry. The variables OTEL_* set the destination. Needs the extra tracing."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Records below this level are not logged. The record of each request has the level info."""

    log_format: Literal["text", "json"] = "text"
    """The form of a record: a line of text or a JSON object."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The sources of settings after the flags, in the order of their precedence."""
        return init_settings, Environment(settings_cls), dotenv_settings

    @property
    def url(self) -> str:
        """The URL of the service, if the port is not 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self.tls_certificate is None else 'https'}://{host}:{self.port}"

    @property
    def processes(self) -> int:
        """The number of worker processes. The measurements behind the default are in docs/measurements.md."""
        if self.workers is not None:
            return self.workers
        return 1 if self.device == "cuda" else usable_processors()

    @property
    def engine_threads(self) -> int:
        """The number of threads that compute in each worker process; 0 if its event loop computes."""
        if self.threads is not None:
            return self.threads
        return 1 if self.device == "cuda" else 0

    @field_validator("backend", "device", "log_level", "log_format", mode="before")
    @classmethod
    def _ignore_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return tuple(filter(None, map(str.strip, value.split(",")))) if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"must be a scheme, a host and optionally a port, such as https://example.org; not {origin}"
                )
        return origins

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        if self.no_auth and self.api_key_file is not None:
            raise ValueError("no_auth: cannot be combined with api_key_file; set only one of them")
        if not (is_loopback(self.host) or self.no_auth or self.api_key_file):
            raise ValueError(
                f"host: other machines may reach {self.host}; set --api-key-file FILE to require API keys, or "
                "--no-auth to let everybody use the service"
            )
        return self

    @model_validator(mode="after")
    def _check_certificate_and_key(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate, tls_key: set both or neither of them")
        return self

    @model_validator(mode="after")
    def _check_cuda(self) -> Self:
        if self.device == "cuda" and self.engine_threads > 1:
            raise ValueError(
                f"threads: must be 1 with cuda, because all solves of a model use the same graphs; not {self.threads}"
            )
        return self


def read_command_line(command: type[Command], arguments: list[str]) -> Command:
    """Read a command line into a model, and run the command of the model if it has one.

    Raises:
        SystemExit: a setting is wrong, or the command failed; the exit status is 1. Or a flag is unknown, or an
            argument is missing; the exit status is 2. The last line on standard error has the reason.
    """
    try:
        return CliApp.run(command, cli_args=arguments)
    except ValidationError as error:
        sys.exit(f"error: settings: {describe(error)}")
    except (SettingsError, ValueError) as error:
        sys.exit(f"error: {error}")


def describe(error: ValidationError) -> str:
    """The errors of the settings, in one line."""
    return "; ".join(
        _describe(each["type"], ".".join(map(str, each["loc"])), each["msg"], each["input"]) for each in error.errors()
    )


def _describe(kind: str, name: str, message: str, value: object) -> str:
    if kind != "extra_forbidden":
        shows_value = kind == "value_error"  # the messages of our own validators
        given = f"; not {shortened(str(value))}" if isinstance(value, str | int | float) and not shows_value else ""
        return f"{name}: {message}{given}".removeprefix(": ").replace("Value error, ", "")
    if f"{PREFIX}{name.upper()}" == KEY:
        return f"{KEY} is read from the environment, not from .env"
    near = get_close_matches(name, [*Settings.model_fields, KEY.removeprefix(PREFIX).lower()], 1, 0)
    return f"{PREFIX}{name.upper()} is not a setting; the nearest is {PREFIX}{near[0].upper()}"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or a name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
