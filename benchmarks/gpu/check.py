"""What a part of the check measures: the device, and how much of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.serving.plan import Closed, Open, Plan
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.servers import Command, ours
from models import artifact as artifacts
from models.artifact import Artifact, newest
from models.backends.answer import Images
from models.backends.protocol import Backend
from models.solvers.settings import SolverSettings
from service.hosting.loader import make_backend
from service.settings import Settings
from training.data import Dataset, load

FITTED = Path(artifacts.__file__).parent / "fitted"
MODEL = "odenet-mnist"
"""The model of every part that measures one model."""

ONCE = "escalate=false"
"""The query of a request whose images are solved once, by the default settings of the model."""


@dataclass(frozen=True)
class Scale:
    """How much a check measures.

    Attributes:
        networks: the networks that are compared with onnxruntime.
        images: how many test digits each network classifies.
        rows: the numbers of rows in a batch.
        runs: repetitions of a timed computation. The median counts.
        seconds: the duration of a load.
        connections: the connections of the closed loops.
        images_of_body: how many images the body of a request has.
        workers: the worker processes of the service that each load is measured with.
        requests: how many requests the device memory must stay flat over.
        swaps: how many times a model is swapped.
        fit_rows: how many digits an epoch of the fit has.
    """

    networks: tuple[str, ...]
    images: int
    rows: tuple[int, ...]
    runs: int
    seconds: float
    connections: tuple[int, ...]
    images_of_body: int
    workers: tuple[int, ...]
    requests: int
    swaps: int
    fit_rows: int


EVERY_NETWORK = tuple(sorted(folder.name for folder in FITTED.iterdir() if folder.is_dir()))
SCALES = {
    "full": Scale(
        networks=EVERY_NETWORK,
        images=10_000,
        rows=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
        runs=20,
        seconds=2.0,
        connections=(1, 8, 32, 128, 512),
        images_of_body=64,
        workers=(1, 4),
        requests=10_000,
        swaps=4,
        fit_rows=55_000,
    ),
    "small": Scale(
        networks=EVERY_NETWORK,
        images=64,
        rows=(1, 8, 64),
        runs=2,
        seconds=0.5,
        connections=(1, 8),
        images_of_body=8,
        workers=(1,),
        requests=50,
        swaps=2,
        fit_rows=512,
    ),
}
"""The scales by name. The small one is for a rehearsal on a CPU."""


@dataclass(frozen=True)
class Check:
    """The device of a check, its scale, and the data and models that its parts share.

    Attributes:
        device: "cpu" or "cuda".
        scale: how much is measured.
    """

    device: str
    scale: Scale

    @cached_property
    def dataset(self) -> Dataset:
        """MNIST."""
        return load()

    @cached_property
    def digits(self) -> Digits:
        """The test digits."""
        images, labels = self.dataset.test
        return Digits(images.numpy(), labels.numpy())

    def images(self, count: int) -> Images:
        """The first test images; they are repeated if there are too few."""
        images: Images = np.resize(self.digits.images, (count, *self.digits.images.shape[1:]))
        return images

    @cached_property
    def artifact(self) -> Artifact:
        """The artifact of `MODEL`."""
        return artifact_of(MODEL)

    @cached_property
    def solver(self) -> SolverSettings:
        """The default settings of `MODEL`."""
        solver = self.artifact.manifest.default_solver
        if solver is None:
            raise ValueError(f"{MODEL} solves no ODE")
        return solver

    def backend(self, artifact: Artifact) -> Backend:
        """The backend that the service makes for an artifact, with torch on the device."""
        return make_backend(artifact, Settings(backend="torch", device=self.device))

    @contextmanager
    def service(self, *flags: str) -> Iterator[Command]:
        """The command of a service that serves `MODEL` by torch on the device, from a folder of its own."""
        with TemporaryDirectory(prefix="models-") as folder:
            Path(folder, MODEL).symlink_to(FITTED / MODEL)
            yield self.command("--models", folder, "--watch-seconds", "0", *flags)

    def command(self, *flags: str) -> Command:
        """The command of a service that computes by torch on the device."""
        return ours("--backend", "torch", "--device", self.device, "--grace-seconds", "0", *flags)

    def plan(self, port: int, load: Closed | Open, query: str = ONCE) -> Plan:
        """A load of bodies of several images."""
        return Plan(port, load, (Kind(query=query, images=self.scale.images_of_body),))


def artifact_of(name: str) -> Artifact:
    """The newest version of a shipped model."""
    folder = newest(FITTED / name)
    if folder is None:
        raise FileNotFoundError(FITTED / name)
    return artifacts.read(folder)
