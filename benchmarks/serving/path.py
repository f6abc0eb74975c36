"""Where the processor time of a request goes: a table by part of the service, from samples of the call stack.

``python -m benchmarks.serving.path`` puts a service of one process under load, while py-spy samples the stacks of its
threads. A sample counts for the innermost Python function, so the time of a C function counts for the Python function
that calls it. Threads that wait are not sampled.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from benchmarks.serving.bench import Bench, connected
from benchmarks.serving.requests import Kind
from benchmarks.serving.servers import Server, ServerError, ours

SAMPLES_PER_SECOND = 400
CONNECTIONS = (1, 32)
KINDS = (Kind(), Kind("mlp", "model=mlp"))
"""The default model, and a network that takes hardly any computation."""

TOP = 20
"""How many functions the second table lists."""

WAITING = "_worker (concurrent/futures/thread.py:"
"""The start of the function in which a thread of a pool waits. py-spy cannot tell on every system that it waits."""


class Sampled(NamedTuple):
    """The samples of a load.

    Attributes:
        load: the description of the load.
        functions: the number of samples by function; each function is written as ``name (file:line)``.
        microseconds: the processor time of a request.
    """

    load: str
    functions: Counter[str]
    microseconds: float

    def by_part(self) -> Counter[str]:
        """Microseconds of a request by part, the costliest first."""
        parts: Counter[str] = Counter()
        for function, samples in self.functions.items():
            parts[part(function)] += samples
        return self._scaled(parts)

    def by_function(self) -> Counter[str]:
        """Microseconds of a request by function."""
        return self._scaled(self.functions)

    def _scaled(self, samples: Counter[str]) -> Counter[str]:
        scale = self.microseconds / max(1, samples.total())
        return Counter({name: round(count * scale) for name, count in samples.items()})


def part(function: str) -> str:
    """The part of a function: a room of the service, such as ``service/engine``, or another package."""
    file = function.rpartition("(")[2].partition(":")[0]
    folders = Path(file).parts
    if folders[0] == "service" and len(folders) > 2:
        return "/".join(folders[:2])
    return folders[0].removesuffix(".py")


def read_stacks(lines: Iterable[str]) -> Counter[str]:
    """Count the samples by innermost function.

    Args:
        lines: py-spy's raw format. A line has the frames of a stack, the innermost last, and the number of its samples.
    """
    functions: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rstrip().rpartition(" ")
        function = stack.rpartition(";")[2]
        if not function.startswith(WAITING):
            functions[function] += int(samples)
    return functions


def sample(bench: Bench, server: Server, connections: int, kind: Kind) -> Sampled:
    """Load a server with a closed loop, and sample its stacks meanwhile.

    Raises:
        ServerError: py-spy cannot sample the process.
    """
    times = []
    for _ in range(bench.rounds):  # without py-spy, which slows the server down
        before = sum(server.processor_seconds().values())
        answered = bench.closed(server, connections, kind).answered
        times.append(1e6 * (sum(server.processor_seconds().values()) - before) / answered)
    with TemporaryDirectory() as folder:
        stacks = Path(folder, "stacks.txt")
        command = ["record", "--pid", server.process.pid, "--duration", max(1, round(bench.seconds)), "--function"]
        form = ["--rate", SAMPLES_PER_SECOND, "--format", "raw", "--output", stacks]
        sampler = subprocess.Popen(  # noqa: S603 (the benchmark makes the command)
            [str(Path(sys.executable).with_name("py-spy")), *map(str, [*command, *form])],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        bench.closed(server, connections, kind, seconds=bench.seconds + 2)
        _, errors = sampler.communicate()
        if sampler.returncode:
            raise ServerError(f"py-spy cannot sample the service: {errors.strip().splitlines()[-1]}")
        functions = read_stacks(stacks.read_text().splitlines())
    label = f"{kind.query.removeprefix('model=') or bench.artifact.manifest.name}, {connected(connections)}"
    return Sampled(label, functions, median(times))


def table(heading: str, columns: list[tuple[str, Counter[str]]], most: int | None = None) -> str:
    """A table of microseconds in Markdown, with the costliest rows of the first column first.

    Args:
        heading: the heading of the first column.
        columns: the heading and the microseconds by name of each other column.
        most: the greatest number of rows; None for all.
    """
    total: Counter[str] = Counter()
    for _, column in columns:
        total.update(column)
    lines = [f"| {heading} | {' | '.join(label for label, _ in columns)} |", "| --- |" + " --- |" * len(columns)]
    for name, _ in total.most_common(most):
        lines.append(f"| {name} | {' | '.join(f'{column[name]:,}' for _, column in columns)} |")
    lines.append(f"| all | {' | '.join(f'{column.total():,}' for _, column in columns)} |")
    return "\n".join(lines)


def main(
    seconds: Annotated[float, typer.Option(min=1, help="Seconds of each measurement.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions of the processor time. The median is reported.")] = 3,
) -> None:
    """Print the processor time of a request in microseconds, by part and by function."""
    console = Console(stderr=True, highlight=False)
    with Bench.open(seconds, rounds, console.print) as bench, bench.servers(ours("--workers", "1")) as (server,):
        sampled = [sample(bench, server, connections, kind) for kind in KINDS for connections in CONNECTIONS]
    typer.echo(table("part, µs per request", [(each.load, each.by_part()) for each in sampled]))
    typer.echo()
    typer.echo(table("function, µs per request", [(each.load, each.by_function()) for each in sampled], TOP))


if __name__ == "__main__":
    typer.run(main)
