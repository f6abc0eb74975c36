"""What every scenario needs: the digits, the load generator, the artifact, and how long to measure."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import onnx

from benchmarks.serving import kernels, load
from benchmarks.serving.contenders import common
from benchmarks.serving.kernels import Kernels
from benchmarks.serving.plan import Closed, Open, Phase, Plan
from benchmarks.serving.questions import Digits, Kind
from benchmarks.serving.results import Result
from benchmarks.serving.servers import Command, Server, contender, ours, running
from models.artifact import Artifact
from models.backends.torch import load_network
from models.networks.odenet import ODENet
from service.processors import usable_processors
from training.data import load as load_dataset
from training.export.graphs import whole_solve

KERNEL_SHARE = 0.2
"""Of the seconds of a measurement, for each batch size of the kernels."""

CALIBRATION_SHARE = 0.5
"""Of the seconds of a measurement, for one that only finds out what to offer."""

OURS = ours()
TORCHDIFFEQ = contender("torchdiffeq", "(b) torchdiffeq")
SINGLE = contender("onnx_single", "(c) onnxruntime")
BATCHED = contender("onnx_batched", "(d) onnxruntime, batched", CONTENDER_SLOTS=str(usable_processors()))


def connected(connections: int) -> str:
    """A closed loop in words."""
    return "1 connection" if connections == 1 else f"{connections} connections"


@dataclass
class Bench:
    """The means to measure.

    Attributes:
        digits: what is asked.
        seconds: of each measurement.
        rounds: repetitions, of which the median is told.
        say: told what is being measured.
        artifact: what everyone serves.
        loader: the process of the load generator.
        scratch: a folder that is removed in the end.
    """

    digits: Digits
    seconds: float
    rounds: int
    say: Callable[[str], None]
    artifact: Artifact
    loader: ProcessPoolExecutor
    scratch: Path

    @classmethod
    @contextmanager
    def open(cls, seconds: float, rounds: int, say: Callable[[str], None]) -> Iterator[Self]:
        """The means, until they are left.

        Args:
            seconds: of each measurement.
            rounds: repetitions.
            say: told what is being measured.
        """
        images, labels = load_dataset().test
        digits = Digits(images.numpy(), labels.numpy())
        with TemporaryDirectory() as scratch, load.process() as loader:
            yield cls(digits, seconds, rounds, say, common.load(), loader, Path(scratch))

    def closed(
        self, server: Server, connections: int, *kinds: Kind, seconds: float | None = None, seed: int = 0
    ) -> Result:
        """Load a server with as many requests in flight as there are connections."""
        arrival = Closed(connections, self.seconds if seconds is None else seconds, self.warm_up)
        return self._measured(server, connected(connections), arrival, kinds, seed)

    def offered(self, server: Server, phases: Sequence[Phase], *kinds: Kind, seed: int = 0) -> Result:
        """Offer a server requests at given rates; the first phase begins with a warm-up of its own."""
        first = Phase(phases[0].rate, phases[0].seconds + self.warm_up)
        arrival = Open((first, *phases[1:]), self.warm_up)
        rates = ", ".join(f"{phase.rate:,.0f}" for phase in phases)
        return self._measured(server, f"{rates} requests/s", arrival, kinds, seed)

    def capacity(self, server: Server, connections: int, *kinds: Kind) -> float:
        """Requests a second that a server answers to so many connections, measured in short."""
        result = self.closed(server, connections, *kinds, seconds=self.seconds * CALIBRATION_SHARE)
        within = (result.status == 200) & (result.finished >= result.since) & (result.finished < result.until)
        return max(1.0, float(within.sum()) / (result.until - result.since))

    def kernels(self) -> Kernels:
        """The ceiling."""
        self.say("kernels")
        seconds = self.seconds * KERNEL_SHARE
        return kernels.measure(self.artifact.folder, self.digits.images, seconds, usable_processors())

    def graph(self, method: str) -> Path:
        """The artifact's whole solve in one graph, by a method; exported once."""
        path = self.scratch / f"solve-{method}.onnx"
        if not path.exists():
            self.say(f"exporting the whole solve by {method}")
            network = load_network(self.artifact)
            if not isinstance(network, ODENet):
                raise TypeError("the network solves no ODE")
            onnx.save(whole_solve(network, method), path)
        return path

    @contextmanager
    def servers(self, *commands: Command) -> Iterator[list[Server]]:
        """Servers, side by side; one that is not asked costs next to nothing."""
        with ExitStack() as stack:
            yield [stack.enter_context(running(command)) for command in commands]

    @property
    def warm_up(self) -> float:
        """Seconds of each load that do not count."""
        return min(1.0, self.seconds / 4)

    def _measured(self, server: Server, what: str, arrival: Closed | Open, kinds: Sequence[Kind], seed: int) -> Result:
        asked = tuple(kinds) or (Kind(),)
        self.say(f"{server.name}: {what}")
        plan = Plan(server.port, arrival, asked, seed)
        return self.loader.submit(load.measure, plan, self.digits).result()
