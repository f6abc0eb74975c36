"""The service under load, beside its own kernels and beside what one would write first.

    python -m benchmarks.serving [--seconds SECONDS] [--rounds ROUNDS] [--only SCENARIO]... [--figure FILE]

Prints the measurements and the goals as Markdown, and writes docs/figures/serving.svg once every scenario is measured.
The load generator shares the machine with the service. Servers that are compared run side by side and are asked by
turns, and the median over the turns is told, as a machine has moods.
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
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="Repetitions, of which the median is told.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(SCENARIOS)}.  [default: all]")] = None,
    figure: Annotated[
        Path | None,
        typer.Option(help="The SVG file to write.  [default: docs/figures/serving.svg, with all scenarios]"),
    ] = None,
) -> None:
    """Measure the service under load."""
    if unknown := set(only or ()) - set(SCENARIOS):
        raise typer.BadParameter(f"no scenario is called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    names = [name for name in SCENARIOS if not only or name in only]
    found, failed = Findings(), list[str]()
    with Bench.open(seconds, rounds, lambda what: console.print(f"{time.monotonic() - began:6.0f} s  {what}")) as bench:
        for name in names:
            try:
                found.add(SCENARIOS[name](bench))
            except ServerError as error:
                failed.append(f"{name}: {error}")
    typer.echo(report.measurements(found.lines))
    if found.goals:
        typer.echo(f"\n{report.goals(found.goals)}")
    if figure is not None or (not failed and len(names) == len(SCENARIOS)):
        draw(found, figure or FIGURE)
    for failure in failed:
        typer.echo(f"not measured: {failure}", err=True)
    if failed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
