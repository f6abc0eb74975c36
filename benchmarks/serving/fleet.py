"""The service behind HAProxy and on Ray Serve, beside a service that callers reach directly.

    python -m benchmarks.serving.fleet [--seconds SECONDS] [--rounds ROUNDS] [--replicas N] [--rate RATE] [--only PART]

Part haproxy: one replica gets requests at a rate, and N replicas behind HAProxy get N times this rate. Both are open
loops with the same number of requests, so one replica gets them in N times the seconds. If the balancer costs nothing
and spreads the requests evenly, the latencies are equal. All replicas, HAProxy and the load generator share this
machine, so the rate must leave its processors idle for most of the time.

Part ray: closed loops on a service of one process, on Ray Serve with Ray's own proxy, and on Ray Serve with HAProxy.

The measurements of a round follow each other, and each ratio is the median over the rounds. Prints Markdown. Needs
HAProxy, and Ray (`make bench-fleet` installs Ray).
"""

import sys
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.serving.balancer import haproxy
from benchmarks.serving.bench import Bench
from benchmarks.serving.plan import Phase
from benchmarks.serving.report import number
from benchmarks.serving.results import Summary, summarise
from benchmarks.serving.rounds import Cell, measure
from benchmarks.serving.servers import PORT, ROOT, Command, Server, ours

PARTS = ("haproxy", "ray")
DIRECT = "direct"
CONNECTIONS = (1, 16)

Runs = dict[tuple[str, str], list[Summary]]
"""For each server and load, the results of the rounds."""


def replica(name: str) -> Command:
    """The command of a service of one process."""
    return ours("--workers", "1", name=name)


def on_ray(name: str, folder: Path, **environment: str) -> Command:
    """The command of the service on Ray Serve.

    Args:
        name: the name in the results.
        folder: the folder for HAProxy's files.
        environment: additional variables.
    """
    own = {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "admin.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
        "ODENET_NO_AUTH": "true",
        "ODENET_LOG_LEVEL": "warning",
    }
    return Command(name, (sys.executable, "-m", "benchmarks.serving.ray_server", PORT), own | environment)


def part_haproxy(bench: Bench, number_of_replicas: int, rate: float) -> tuple[Runs, str]:
    """Measure one replica, one replica behind HAProxy, and several replicas behind HAProxy, at the same rate each.

    All get the same number of requests, so one replica gets them in a longer time. The p99 of fewer requests would be
    lower on average, and more uncertain.

    Returns:
        The results, and the name of the server to compare with.
    """
    with bench.servers(*(replica(f"replica {n}") for n in range(1, number_of_replicas + 1))) as replicas:
        ports = [each.port for each in replicas]
        commands = [haproxy(each, bench.scratch) for each in (ports[:1], ports)]
        with bench.servers(*commands) as (one, several):
            direct = Server(DIRECT, replicas[0].port, replicas[0].process)
            short = Phase(number_of_replicas * rate, bench.seconds)
            long = Phase(rate, number_of_replicas * bench.seconds)
            load, phases = f"{rate:g} requests/s a replica", ((direct, long), (one, long), (several, short))
            runs: Runs = {(server.name, load): [] for server, _ in phases}
            for server, phase in phases:
                bench.offered(server, [Phase(phase.rate, 1.0)])  # the first requests are slow
            for seed in range(bench.rounds):
                for server, phase in phases:
                    runs[server.name, load].append(summarise(bench.offered(server, [phase], seed=seed)))
            return runs, one.name


def part_ray(bench: Bench) -> tuple[Runs, str]:
    """Measure the service alone, and one replica on Ray Serve with each of its proxies.

    Returns:
        The results, and the name of the server to compare with.
    """
    commands = (
        replica(DIRECT),
        on_ray("Ray", bench.scratch),
        on_ray("Ray with HAProxy", bench.scratch, RAY_SERVE_ENABLE_HA_PROXY="1"),
    )
    names = [command.name for command in commands]
    cells = [Cell(name, count) for count in CONNECTIONS for name in names]
    with bench.servers(*commands) as servers:
        for server in servers:
            bench.closed(server, CONNECTIONS[-1], seconds=1.0)
        rounds = measure(bench, servers, cells, busy=names[1:])
    return {(cell.server, cell.load): [run.summary for run in runs] for cell, runs in rounds.runs.items()}, DIRECT


def table(runs: Runs, reference: str) -> str:
    """The results as a Markdown table.

    Args:
        runs: the results.
        reference: the name of the server that the others are divided by, at the same load and in the same round.
    """
    headings = ("server", "load", "images/s", "p50, ms", "p99, ms", "failed", "images/s, ratio", "p99, ratio")
    lines = [" | ".join(headings), " | ".join("---" for _ in headings)]
    for (server, load), mine in runs.items():
        pairs = list(zip(mine, runs[reference, load], strict=True))
        values = (
            median(each.throughput for each in mine),
            median(each.p50 for each in mine),
            median(each.p99 for each in mine),
            sum(each.failed.total() for each in mine),
            median(one.throughput / other.throughput for one, other in pairs),
            median(one.p99 / other.p99 for one, other in pairs),
        )
        lines.append(" | ".join((server, load, *map(number, values))))
    return "\n".join(f"| {line} |" for line in lines)


def main(
    seconds: Annotated[
        float, typer.Option(min=1, help="Seconds of each measurement; N times as many for one replica.")
    ] = 10.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The median is reported.")] = 5,
    replicas: Annotated[int, typer.Option(min=2, help="Replicas behind HAProxy.")] = 4,
    rate: Annotated[float, typer.Option(min=1, help="Requests/s for each replica behind HAProxy.")] = 25.0,
    only: Annotated[str, typer.Option(help="One part: haproxy or ray.  [default: both]")] = "",
) -> None:
    """Measure the service behind HAProxy and on Ray Serve."""
    if only not in {"", *PARTS}:
        raise typer.BadParameter(f"no part is called {only}; the parts are {', '.join(PARTS)}")
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    with Bench.open(
        seconds, rounds, lambda message: console.print(f"{time.monotonic() - began:6.0f} s  {message}")
    ) as bench:
        if only in {"", "haproxy"}:
            typer.echo(table(*part_haproxy(bench, replicas, rate)) + "\n")
        if only in {"", "ray"}:
            typer.echo(table(*part_ray(bench)))


if __name__ == "__main__":
    typer.run(main)
