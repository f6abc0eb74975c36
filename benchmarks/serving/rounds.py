"""Closed loops of several servers in interleaved rounds, and ratios that are medians over the rounds."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from benchmarks.serving.bench import Bench, connected
from benchmarks.serving.kernels import Kernels
from benchmarks.serving.report import Measurement, ratio
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import Summary, median_of, summarise
from benchmarks.serving.servers import Server
from benchmarks.serving.threads import Role

ONCE = "escalate=false"
"""The query of a request whose images are solved once, by the default settings of the model. The kernels, the
contenders and the peers do the same."""

ONE_IMAGE = Kind(query=ONCE)


class Cell(NamedTuple):
    """A closed loop.

    Attributes:
        server: the name of the server.
        connections: the number of connections.
        kind: the kind of request.
        label: additional words about the load.
    """

    server: str
    connections: int
    kind: Kind = ONE_IMAGE
    label: str = ""

    @property
    def load(self) -> str:
        """The description of the load."""
        return ", ".join(filter(None, (connected(self.connections), self.label)))


class Run(NamedTuple):
    """The result of a closed loop.

    Attributes:
        summary: the summary of the requests.
        processor: the processor time of the server in microseconds per request, by the role of the thread.
        generator: the processor time of the load generator in microseconds per request.
    """

    summary: Summary
    processor: dict[Role, float]
    generator: float

    @property
    def processor_time(self) -> float:
        """The processor time of all threads of the server in microseconds per request."""
        return sum(self.processor.values())


@dataclass
class Rounds:
    """The results of all rounds.

    Attributes:
        runs: the results of each cell, one for each round.
        kernels: the speed of the kernels in each round.
    """

    runs: dict[Cell, list[Run]]
    kernels: list[Kernels] = field(default_factory=list)

    def ratio(self, mine: Cell, theirs: Cell, value: Callable[[Summary], float]) -> float:
        """The median over the rounds of the ratio of two cells measured in one round."""
        pairs = zip(self.runs[mine], self.runs[theirs], strict=True)
        return median(ratio(value(one.summary), value(other.summary)) for one, other in pairs)

    def processor(self, cell: Cell) -> dict[Role, float]:
        """The processor time of a cell by role: the median over the rounds."""
        return {role: median(run.processor[role] for run in self.runs[cell]) for role in Role}

    def measurements(self, scenario: str) -> list[Measurement]:
        """A line of the table of measurements for each cell."""
        return [
            Measurement(
                scenario,
                cell.server,
                cell.load,
                median_of([run.summary for run in runs]),
                f"the load generator takes {median(run.generator for run in runs):.0f} µs per request",
                median(run.processor_time for run in runs),
            )
            for cell, runs in self.runs.items()
        ]


def measure(
    bench: Bench,
    servers: Sequence[Server],
    cells: Sequence[Cell],
    *,
    busy: Sequence[str] = (),
    with_kernels: bool = False,
) -> Rounds:
    """Run the closed loops, one cell after the other, as many times as the bench has rounds.

    Args:
        bench: the benchmark.
        servers: the running servers.
        cells: the closed loops of each round.
        busy: the names of the servers that take processor time even without load. They are paused while another server
            is under load.
        with_kernels: whether to measure the kernels in each round too.
    """
    by_name = {server.name: server for server in servers}
    rounds = Rounds({cell: [] for cell in cells})
    for seed in range(bench.rounds):
        if with_kernels:
            rounds.kernels.append(bench.kernels())
        for cell in cells:
            with ExitStack() as stack:
                for name in busy:
                    if name != cell.server:
                        stack.enter_context(by_name[name].paused())
                rounds.runs[cell].append(_run(bench, by_name[cell.server], cell, seed))
    return rounds


def _run(bench: Bench, server: Server, cell: Cell, seed: int) -> Run:
    """Run a closed loop.

    The processor time covers the warm-up too, so we divide it by all answers. Linux counts the times of a process and
    of its threads in whole ticks, so the rest for other threads may come out a tick below zero. We round the times to
    nanoseconds, because a difference of sums may be next to zero instead of zero.
    """
    before = server.processor_seconds()
    result = bench.closed(server, cell.connections, cell.kind, seed=seed)
    after = server.processor_seconds()
    processor = {role: round(1e6 * max(0.0, after[role] - before[role]) / result.answered, 3) for role in Role}
    return Run(summarise(result), processor, result.cpu_microseconds_per_request)
