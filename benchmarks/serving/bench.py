"""The `Bench` that every scenario uses: the digits, the load generator, the artifact, and the duration."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import onnx

from benchmarks.serving import kernels, load
from benchmarks.serving.bursts import Times
from benchmarks.serving.contenders import common
from benchmarks.serving.kernels import Kernels
from benchmarks.serving.plan import Closed, Open, Phase, Plan, Replay
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import Result
from benchmarks.serving.servers import Command, Server, contender, ours, running
from models.artifact import Artifact
from models.backends.torch import load_network
from models.networks.odenet import ODENet
from service.processors import usable_processors
from training.data import load as load_dataset
from training.export.graphs import whole_solve

KERNEL_SHARE = 0.2
"""The time for each batch size of the kernels, as a share of the seconds of a measurement."""

OURS = ours()
TORCHDIFFEQ = contender("torchdiffeq", "(b) torchdiffeq")
SINGLE = contender("onnx_single", "(c) onnxruntime")
FASTAPI = contender("plain_fastapi", "(e) plain FastAPI route", "--workers", str(usable_processors()))
ASGI = contender("bare_asgi", "(f) bare ASGI function", "--workers", str(usable_processors()))
BATCHED = contender("onnx_batched", "(d) onnxruntime, batched", CONTENDER_SLOTS=str(usable_processors()))


def connected(connections: int) -> str:
    """The description of a closed loop."""
    return "1 connection" if connections == 1 else f"{connections} connections"


@dataclass
class Bench:
    """Measures servers under load.

    Attributes:
        digits: the images to send.
        seconds: the duration of each measurement.
        rounds: the number of repetitions, whose median is reported.
        report: called with a description of each measurement that begins.
        artifact: the artifact that every server serves.
        loader: the process of the load generator.
        scratch: a temporary folder.
    """

    digits: Digits
    seconds: float
    rounds: int
    report: Callable[[str], None]
    artifact: Artifact
    loader: ProcessPoolExecutor
    scratch: Path

    @classmethod
    @contextmanager
    def open(cls, seconds: float, rounds: int, report: Callable[[str], None]) -> Iterator[Self]:
        """Load the digits and the artifact, and start the load generator; the end of the context stops it.

        Args:
            seconds: the duration of each measurement.
            rounds: the number of repetitions.
            report: called with a description of each measurement that begins.
        """
        images, labels = load_dataset().test
        digits = Digits(images.numpy(), labels.numpy())
        with TemporaryDirectory() as scratch, load.process() as loader:
            yield cls(digits, seconds, rounds, report, common.load(), loader, Path(scratch))

    def closed(
        self, server: Server, connections: int, *kinds: Kind, seconds: float | None = None, seed: int = 0
    ) -> Result:
        """Load a server with a closed loop: one request in flight per connection."""
        arrival = Closed(connections, self.seconds if seconds is None else seconds, self.warm_up)
        return self._measured(server, connected(connections), arrival, kinds, seed)

    def offered(self, server: Server, phases: Sequence[Phase], *kinds: Kind, seed: int = 0) -> Result:
        """Load a server with an open loop at given rates. A warm-up precedes the first phase, at the same rate."""
        first = Phase(phases[0].rate, phases[0].seconds + self.warm_up)
        arrival = Open((first, *phases[1:]), self.warm_up)
        rates = ", ".join(f"{phase.rate:,.0f}" for phase in phases)
        return self._measured(server, f"{rates} requests/s", arrival, kinds, seed)

    def replayed(self, server: Server, times: Times, seconds: float, *kinds: Kind, seed: int = 0) -> Result:
        """Load a server with an open loop whose requests arrive at given times."""
        arrival = Replay(times, seconds, self.warm_up)
        return self._measured(server, f"{len(times) / seconds:,.0f} requests/s in bursts", arrival, kinds, seed)

    def capacity(self, server: Server, connections: int, *kinds: Kind) -> float:
        """Measure how many requests per second a server answers at a number of connections."""
        result = self.closed(server, connections, *kinds)
        within = (result.status == 200) & (result.finished >= result.since) & (result.finished < result.until)
        return max(1.0, float(within.sum()) / (result.until - result.since))

    def kernels(self) -> Kernels:
        """Measure the kernels, the upper limit of the service."""
        self.report("kernels")
        seconds = self.seconds * KERNEL_SHARE
        return kernels.measure(self.artifact.folder, self.digits.images, seconds, usable_processors())

    def graph(self, method: str) -> Path:
        """The graph of the artifact's whole solve with a method. It is exported once."""
        path = self.scratch / f"solve-{method}.onnx"
        if not path.exists():
            self.report(f"exporting the whole solve with {method}")
            network = load_network(self.artifact)
            if not isinstance(network, ODENet):
                raise TypeError("the network solves no ODE")
            onnx.save(whole_solve(network, method), path)
        return path

    @contextmanager
    def servers(self, *commands: Command) -> Iterator[list[Server]]:
        """Start several servers. A server without load takes hardly any processor time."""
        with ExitStack() as stack:
            yield [stack.enter_context(running(command)) for command in commands]

    @property
    def warm_up(self) -> float:
        """Seconds at the start of each load that do not count."""
        return min(1.0, self.seconds / 4)

    def _measured(
        self, server: Server, description: str, arrival: Closed | Open | Replay, kinds: Sequence[Kind], seed: int
    ) -> Result:
        self.report(f"{server.name}: {description}")
        plan = Plan(server.port, arrival, tuple(kinds) or (Kind(),), seed)
        return self.loader.submit(load.measure, plan, self.digits).result()
