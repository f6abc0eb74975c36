"""Measure the service under load, and compare it with its own kernels, three simpler servers and two floors.

A floor is a server that computes nothing; it shows the least cost of a request.

    python -m benchmarks.serving [--seconds SECONDS] [--rounds ROUNDS] [--only SCENARIO]... [--figure FILE]

Prints the measurements, the processor time by thread and the goals as Markdown. Writes docs/figures/serving.svg if
every scenario was measured. The load generator shares the machine with the service. Servers that are compared run at
the same time, and receive the load one after the other. We repeat this for several rounds and report the median,
because the speed of a machine varies.
"""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import figures
from benchmarks.serving import report
from benchmarks.serving.bench import Bench
from benchmarks.serving.figure import draw
from benchmarks.serving.report import Findings
from benchmarks.serving.scenarios import SCENARIOS
from benchmarks.serving.servers import ServerError

FIGURE = figures.FOLDER / "serving.svg"


def main(
    seconds: Annotated[float, typer.Option(min=0.1, help="Seconds of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions. The median is reported.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help=f"Scenarios: {', '.join(SCENARIOS)}.  [default: all]")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="The SVG file to write.  [default: docs/figures/serving.svg if all scenarios run]"),
    ] = None,
) -> None:
    """Measure the service under load."""
    if unknown := set(only or ()) - set(SCENARIOS):
        raise typer.BadParameter(f"no scenario is called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    names = [name for name in SCENARIOS if not only or name in only]
    found, failed = Findings(), list[str]()
    with Bench.open(
        seconds, rounds, lambda message: console.print(f"{time.monotonic() - began:6.0f} s  {message}")
    ) as bench:
        for name in names:
            try:
                found.add(SCENARIOS[name](bench))
            except ServerError as error:
                failed.append(f"{name}: {error}")
    typer.echo(report.measurement_table(found.measurements))
    if found.processor_times:
        typer.echo(f"\n{report.processor_table(found.processor_times)}")
    if found.goals:
        typer.echo(f"\n{report.goal_table(found.goals)}")
    if figure is not None or (not failed and len(names) == len(SCENARIOS)):
        draw(found, figure or FIGURE)
    for failure in failed:
        typer.echo(f"not measured: {failure}", err=True)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
