"""The peers: how they are started, the requests that they receive, and the goals of the comparison."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.serving.contenders.common import default_tolerance
from benchmarks.serving.forms import JSON, RAW, Form
from benchmarks.serving.peers.environments import InstallError, install
from benchmarks.serving.peers.forms import BENTOML_JSON, COLUMNS_JSON, COLUMNS_RAW, V2_BINARY, V2_JSON
from benchmarks.serving.requests import Kind
from benchmarks.serving.rounds import ONE_IMAGE
from benchmarks.serving.servers import PORT, ROOT, Command, Server, ServerError, contender, running
from benchmarks.serving.speed import AS_JSON, JSON_GOAL
from models.artifact import SOLVE, Artifact

HERE = Path(__file__).parent
ENVIRONMENTS = ROOT / ".venv" / "peers"
PROCESSES = 2
"""The number of processors of the benchmark, and of processes of each peer."""

RAW_GOAL = 1.3
"""The smallest allowed number of images per second at 32 connections with raw bodies, relative to Triton."""


class Body(NamedTuple):
    """A kind of body that a peer takes.

    Attributes:
        name: the name in the results.
        theirs: the format that the peer takes.
        mine: the kind of request that the service takes; its images are solved once, as the peer solves them.
        goal: the smallest allowed number of images per second at 32 connections, relative to the peer; None for no
            goal.
    """

    name: str
    theirs: Form
    mine: Kind
    goal: float | None = None


@dataclass(frozen=True)
class Peer:
    """A peer.

    Attributes:
        name: the name in the results.
        folder: the name of the peer's folder next to this file, and of its environment; None for a contender, which
            needs no other packages.
        ready: the path that answers with 200 when the peer is ready.
        bodies: the kinds of body to measure.
        environment: the environment variables for the peer alone.
        is_busy: whether it takes much processor time even without load. LitServe takes a third of a processor, Ray
            Serve an eighth.
    """

    name: str
    folder: str | None
    ready: str
    bodies: tuple[Body, ...]
    environment: dict[str, str] = field(default_factory=dict)
    is_busy: bool = False

    @property
    def requirements(self) -> Path | None:
        """The file with the packages that the peer needs."""
        return None if self.folder is None else HERE / self.folder / "requirements.txt"

    @property
    def environment_folder(self) -> Path:
        """The virtual environment of the peer."""
        return ENVIRONMENTS / (self.folder or "")

    def command(self, artifact: Artifact, scratch: Path) -> Command:
        """The command that starts the peer.

        Args:
            artifact: the artifact whose graph of the whole solve the peer serves.
            scratch: an empty folder for the files of the peer.
        """
        if self.folder is None:
            return contender("onnx_single", self.name, "--workers", str(PROCESSES))
        environment = {
            "PEER_GRAPH": str(artifact.folder / SOLVE),
            "PEER_TOLERANCE": str(default_tolerance(artifact)),
            "PEER_PORT": PORT,
            "PEER_FOLDER": str(scratch),
            "PYTHONPATH": str(HERE / "common"),
        }
        arguments = (str(self.environment_folder / "bin" / "python"), str(HERE / self.folder / "serve.py"))
        return Command(self.name, arguments, environment | self.environment, self.ready)

    @contextmanager
    def started(self, artifact: Artifact) -> Iterator[Server]:
        """Install the peer if needed, and start it; the end of the context stops it.

        Args:
            artifact: the artifact whose graph of the whole solve the peer serves.

        Raises:
            ServerError: the peer cannot be installed or does not start.
        """
        if self.requirements is not None:
            try:
                install(self.requirements, self.environment_folder)
            except InstallError as error:
                raise ServerError(f"{self.name} cannot be installed: {error}") from error
        with TemporaryDirectory() as scratch, running(self.command(artifact, Path(scratch))) as server:
            yield server


TRITON = Peer("Triton", "triton", "/v2/health/ready", (Body("binary", V2_BINARY, Kind(form=V2_BINARY), RAW_GOAL),))
PEERS = (
    TRITON,
    Peer("LitServe", "litserve", "/health", (Body("JSON", COLUMNS_JSON, AS_JSON, JSON_GOAL),), is_busy=True),
    Peer(
        "BentoML",
        "bentoml",
        "/readyz",
        (Body("JSON", BENTOML_JSON, AS_JSON, JSON_GOAL),),
        {"BENTOML_DO_NOT_TRACK": "True"},
    ),
    Peer(
        "MLServer", "mlserver", "/v2/models/odenet-mnist/ready", (Body("JSON", V2_JSON, Kind(form=V2_JSON), JSON_GOAL),)
    ),
    Peer(
        "Ray Serve",
        "ray",
        "/-/healthz",
        (Body("raw", COLUMNS_RAW, ONE_IMAGE),),
        {"RAY_AUTH_MODE": "disabled", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"},
        is_busy=True,
    ),
    Peer("FastAPI + onnxruntime", None, "", (Body("raw", RAW, ONE_IMAGE), Body("JSON", JSON, AS_JSON, JSON_GOAL))),
)
