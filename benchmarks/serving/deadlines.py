"""Deadlines under bursts: the share of requests answered in time by the caller's clock, and the accuracy.

    python -m benchmarks.serving.deadlines [--seconds SECONDS] [--load LOAD... | --replay FILE] [--figure FILE]

Compares the service, which plans each solve by the deadline of its request, with the same service at fixed tolerances
and without deadlines, with FastAPI and onnxruntime, with and without dynamic batching, and with Triton. Triton receives
the deadline of each request as its timeout: it refuses a request that has waited for so long in its queue. Where Triton
cannot be installed or started, a line says so, and the others are compared. All receive the same images at the same
times: bursts at each mean load, or the arrivals of a recording (`benchmarks.serving.bursts`). The latency counts from
the time when a request is due. Prints a Markdown table for each mean load, with the share of a perfect server of the
same speed (`most_in_time`), and draws accuracy against attainment.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks import figures
from benchmarks.serving.bench import BATCHED, OURS, SINGLE, Bench
from benchmarks.serving.bursts import Times, burstiness, bursts, recorded
from benchmarks.serving.contenders.common import default_tolerance
from benchmarks.serving.peers.forms import binary
from benchmarks.serving.peers.table import TRITON
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import OK, Result
from benchmarks.serving.servers import Server, ServerError

DEADLINES = (10, 20, 50, 100)
LOADS = (0.3, 0.5, 0.9)
TIGHT = "tolerance=1e-3"
"""The tight setting. Its capacity, measured in a closed loop, is the unit of the load."""

FIXED = (TIGHT, "tolerance=1e-2", "tolerance=1e-1", "escalate=false", "escalate=true")
"""The settings of the service without deadlines, from the tightest to the cheapest."""

CONNECTIONS = 32

BUSIEST = 0.5
"""The length in seconds of the window in which `busiest` counts answers."""


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        contender: the name of the server and its setting.
        deadline: milliseconds.
        attainment: the share of requests that were answered in time.
        accuracy: the share of correct digits among the requests in time.
    """

    contender: str
    deadline: int
    attainment: float
    accuracy: float

    @property
    def both(self) -> float:
        """The share of requests that were answered in time and correctly."""
        return self.attainment * self.accuracy


def rows(contender: str, result: Result, deadlines: Iterable[int]) -> list[Row]:
    """The lines of a load, one for each deadline."""
    arrived = (result.scheduled >= result.since) & (result.scheduled < result.until)
    answers = result.answers
    right = np.zeros(len(arrived), bool)
    right[answers.request] = answers.digit == answers.label
    found = []
    for deadline in deadlines:
        timely = arrived & (result.status == OK) & (1e3 * (result.finished - result.scheduled) <= deadline)
        accuracy = float(right[timely].mean()) if timely.any() else float("nan")
        found.append(Row(contender, deadline, float(timely[arrived].mean()), accuracy))
    return found


def busiest(result: Result) -> float:
    """The requests answered with 200 per second in the `BUSIEST` seconds with the most of them."""
    ends = np.sort(result.finished[result.status == OK])
    counts = np.searchsorted(ends, ends + BUSIEST) - np.arange(len(ends))
    return float(counts.max(initial=0)) / BUSIEST


def most_in_time(times: Times, rate: float, deadline: float) -> float:
    """The share of requests that a perfect server answers in time, if it answers one after another at a constant rate.

    It knows the future: it refuses every request that it could not answer in time, and a refusal takes no time. All
    requests take as long and have the same deadline, so no other order and no other refusals give a larger share.

    Args:
        times: the arrivals, in seconds, in increasing order.
        rate: requests per second.
        deadline: seconds from the arrival to the answer.
    """
    free, answered = 0.0, 0
    for due in times.tolist():
        end = max(due, free) + 1 / rate
        if end <= due + deadline:
            free, answered = end, answered + 1
    return answered / len(times)


def arrivals(
    capacity: float, seconds: float, loads: Iterable[float], replay: Path | None
) -> dict[float, tuple[Times, float]]:
    """The arrivals to measure, and their duration in seconds, by mean load.

    Args:
        capacity: requests per second at a load of 1.
        seconds: the duration of bursts.
        loads: the mean loads of bursts.
        replay: the recording to measure instead of bursts. Its own rate and duration set its load.
    """
    if replay is None:
        return {load: (bursts(load * capacity, seconds, seed=3), seconds) for load in loads}
    times = recorded(replay)
    length = float(times[-1])
    return {len(times) / length / capacity: (times, length)}


@contextmanager
def contenders(bench: Bench) -> Iterator[dict[str, Server]]:
    """Start the contenders, by name. A line says why Triton is left out, if it cannot be installed or started."""
    with ExitStack() as stack:
        started = stack.enter_context(bench.servers(OURS, SINGLE, BATCHED))
        try:
            started.append(stack.enter_context(TRITON.started(bench.artifact)))
        except ServerError as error:
            typer.echo(f"not measured: {error}\n")
        yield {server.name: server for server in started}


def measure(bench: Bench, servers: dict[str, Server], times: Times, seconds: float) -> tuple[list[Row], float]:
    """Measure every contender with the same arrivals.

    Returns:
        The lines of the table, and the greatest rate at which the service answered in any of its loads (`busiest`).
    """
    found, rates, default = list[Row](), list[float](), f"tolerance={default_tolerance(bench.artifact):g}"
    for deadline in DEADLINES:
        result = bench.replayed(servers[OURS.name], times, seconds, Kind("deadline", f"deadline_ms={deadline}"))
        found += rows("ours, by deadline", result, [deadline])
        rates.append(busiest(result))
    for query in FIXED:
        result = bench.replayed(servers[OURS.name], times, seconds, Kind("fixed", query))
        found += rows(f"ours, {query}", result, DEADLINES)
        rates.append(busiest(result))
    for command in (SINGLE, BATCHED):
        result = bench.replayed(servers[command.name], times, seconds, Kind("fixed", default))
        found += rows(f"{command.name}, {default}", result, DEADLINES)
    for deadline in DEADLINES if TRITON.name in servers else ():
        kind = Kind("timeout", form=binary(timeout=1000 * deadline))
        result = bench.replayed(servers[TRITON.name], times, seconds, kind)
        found += rows(f"{TRITON.name}, by timeout, {default}", result, [deadline])
    return found, max(rates)


def table(measured: list[Row]) -> str:
    """The lines as Markdown: for each deadline the attainment, the accuracy, and both."""
    headings = " | ".join(f"{deadline} ms: in time, right, both" for deadline in DEADLINES)
    lines = [f"| contender | {headings} |", "| --- |" + " --- |" * len(DEADLINES)]
    for contender in dict.fromkeys(row.contender for row in measured):
        cells = [
            f"{row.attainment:.2%}, {row.accuracy:.2%}, {row.both:.2%}"
            for row in measured
            if row.contender == contender
        ]
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(measured: dict[float, list[Row]], path: Path) -> None:
    """Draw accuracy against attainment: a panel for each load, a line for each contender, a point for each deadline."""
    figure = Figure(figsize=(5.5 * len(measured), 4.0), layout="constrained")
    panels = figure.subplots(1, len(measured), squeeze=False).flatten()
    for axes, (load, found) in zip(panels, measured.items(), strict=True):
        for contender in dict.fromkeys(row.contender for row in found):
            points = [(100 * row.attainment, 100 * row.accuracy) for row in found if row.contender == contender]
            axes.plot(*zip(*points, strict=True), "o-", label=contender, markersize=4, linewidth=1)
        figures.label(axes, f"mean load {load:.0%}", "answered in time, %", "right among them, %")
        axes.legend(fontsize=7)
    figures.save(figure, path)


def main(
    seconds: Annotated[float, typer.Option(min=2, help="Seconds of each measurement.")] = 20.0,
    load: Annotated[list[float] | None, typer.Option(help="Mean loads.  [default: 0.3, 0.5, 0.9]")] = None,
    replay: Annotated[
        Path | None, typer.Option(help="A file of arrivals, a time in seconds per line; it has its own mean load.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="The SVG file to write.  [default: none]")] = None,
) -> None:
    """Measure attainment and accuracy under bursts."""
    if load and replay is not None:
        raise typer.BadParameter("a recording has its own load; give --load or --replay, not both")
    console, measured = Console(stderr=True, highlight=False), dict[float, list[Row]]()
    with Bench.open(seconds, 1, console.print) as bench, contenders(bench) as servers:
        capacity = bench.capacity(servers[OURS.name], CONNECTIONS, Kind(query=TIGHT))
        for each, (times, length) in arrivals(capacity, seconds, load or LOADS, replay).items():
            variation, peak = burstiness(times)
            mean = len(times) / length
            typer.echo(
                f"mean load {mean / capacity:.0%}: {mean:,.0f} requests/s, {capacity:,.0f} at the capacity; squared "
                f"coefficient of variation {variation:.1f}, peak {peak:.1f} times the mean\n"
            )
            measured[each], rate = measure(bench, servers, times, length)
            typer.echo(f"{table(measured[each])}\n")
            most = ", ".join(f"{most_in_time(times, rate, deadline / 1e3):.2%}" for deadline in DEADLINES)
            typer.echo(
                f"A perfect server that answers {rate:,.0f} requests/s, the most that ours answered in {BUSIEST:g} s, "
                f"answers {most} in time.\n"
            )
    if figure is not None:
        draw(measured, figure)


if __name__ == "__main__":
    typer.run(main)
