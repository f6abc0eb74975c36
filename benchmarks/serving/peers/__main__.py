"""Compare the service with real servers that run the same graph.

    python -m benchmarks.serving.peers [--seconds SECONDS] [--rounds ROUNDS] [--only PEER]...

Each peer is installed into a virtual environment of its own in .venv/peers and configured as its own documentation
says. Then the peer and the service run at the same time on the same two processors, with the load generator, and
receive the load one after the other, with the same kind of body. Prints Markdown. A peer that cannot be installed or
started is named with the reason, and the run goes on.
"""

import os
import time
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.serving import report
from benchmarks.serving.bench import OURS, Bench
from benchmarks.serving.forms import Form
from benchmarks.serving.peers.table import PEERS, PROCESSES, Peer
from benchmarks.serving.report import Findings, Goal, Ratio
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK
from benchmarks.serving.rounds import Cell, measure
from benchmarks.serving.servers import Server, ServerError, running

CONNECTIONS = (1, 32)


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each measurement.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The median is reported.")] = 3,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Peers: {', '.join(peer.name for peer in PEERS)}.  [default: all]")
    ] = None,
) -> None:
    """Compare the service with real servers."""
    if unknown := set(only or ()) - {peer.name for peer in PEERS}:
        raise typer.BadParameter(f"no peer is called {', '.join(unknown)}")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:PROCESSES])  # the servers inherit the affinity
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    found, failed = Findings(), list[ServerError]()
    with Bench.open(
        seconds, rounds, lambda message: console.print(f"{time.monotonic() - began:6.0f} s  {message}")
    ) as bench:
        for peer in PEERS:
            if not only or peer.name in only:
                try:
                    found.add(compare(bench, peer))
                except ServerError as error:
                    failed.append(error)
    typer.echo(report.measurement_table(found.measurements))
    typer.echo(f"\n{report.ratio_table(found.ratios)}")
    if found.goals:
        typer.echo(f"\n{report.goal_table(found.goals)}")
    for failure in failed:
        typer.echo(f"\nnot measured: {failure}")
    if failed:
        raise typer.Exit(1)


def compare(bench: Bench, peer: Peer) -> Findings:
    """Measure a peer and the service, at one connection and at 32, with each kind of body that the peer takes.

    Raises:
        ServerError: the peer cannot be installed, does not start or answers no request.
    """
    bench.report(f"{peer.name}: installation and start")
    pairs = [
        (
            body,
            Cell(peer.name, count, Kind(form=body.theirs), body.name),
            Cell(OURS.name, count, body.mine, body.name),
        )
        for body in peer.bodies
        for count in CONNECTIONS
    ]
    busy = [peer.name] if peer.is_busy else []
    with peer.started(bench.artifact) as their_server:
        _warm_up(bench, their_server, peer.bodies[0].theirs)
        with running(OURS) as my_server:
            _warm_up(bench, my_server, peer.bodies[0].mine.form)
            rounds = measure(bench, [my_server, their_server], [cell for _, *pair in pairs for cell in pair], busy=busy)
    found = Findings(rounds.measurements(peer.name))
    for body, theirs, mine in pairs:
        reached = rounds.ratio(mine, theirs, lambda summary: summary.throughput)
        latency = rounds.ratio(mine, theirs, lambda summary: summary.p50)
        found.ratios.append(Ratio(peer.name, mine.load, reached, latency))
        if body.goal is not None and mine.connections == CONNECTIONS[-1]:
            claim = f"images/s relative to {peer.name}, {mine.load}"
            found.goals.append(Goal(peer.name, claim, body.goal, reached, is_minimum=True))
    return found


def _warm_up(bench: Bench, server: Server, form: Form) -> None:
    """Send requests to a server before the measurement, because its first requests are slow."""
    status = bench.closed(server, CONNECTIONS[-1], Kind(form=form)).status
    if not (status == OK).any():
        raise ServerError(f"{server.name} answers no request; the first status is {status[0]}")


if __name__ == "__main__":
    typer.run(main)
