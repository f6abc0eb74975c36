"""The campaign of a hostile caller and a careless operator, which docs/reliability.md reports.

    python -m benchmarks.chaos [--only PART]... [--seconds SECONDS] [--soak SECONDS] [--requests N] [--seed SEED]

Prints a table for each part, as Markdown: honest callers next to hostile ones; events under load; fuzzers; a soak.
"""

import time
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.chaos import events, fuzz, hostile, soak
from benchmarks.processor import processor
from benchmarks.serving.requests import Digits
from training.data import load as load_dataset


def main(
    only: Annotated[list[str] | None, typer.Option(help="Parts: hostile, events, fuzz, soak.  [default: all]")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="Seconds next to each hostile caller, and alone.")] = 5.0,
    soak_seconds: Annotated[float, typer.Option("--soak", min=10, help="Seconds of the soak.")] = 600.0,
    requests: Annotated[int, typer.Option(min=20, help="Requests of each fuzzer.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The seed of the fuzzers.")] = 0,
) -> None:
    """Run the campaign."""
    console, began = Console(stderr=True, highlight=False), time.monotonic()
    images, labels = load_dataset().test
    digits = Digits(images.numpy(), labels.numpy())

    def report(message: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {message}")

    parts: dict[str, Callable[[], Iterator[str]]] = {
        "hostile": lambda: hostile.measure(digits, seconds, report),
        "events": lambda: events.measure(digits, report),
        "fuzz": lambda: fuzz.measure(digits, requests, seed, report),
        "soak": lambda: soak.measure(digits, soak_seconds, seed, report),
    }
    if unknown := set(only or ()) - set(parts):
        raise typer.BadParameter(f"no part is called {', '.join(unknown)}; there are {', '.join(parts)}")
    typer.echo(f"Measured on {processor()}.")
    for name in only or parts:
        typer.echo("")
        for line in parts[name]():
            typer.echo(line)


if __name__ == "__main__":
    typer.run(main)
