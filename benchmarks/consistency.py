"""How sure a loose solve of a fitted network is: how often a tight solve gives another digit, and with which margins.

    python -m training fit quick
    python -m training fit consistent
    python -m benchmarks.consistency runs/quick runs/consistent

The recipe `consistent` pulls the probabilities of a loose solve towards those of the training solve. Everything is
measured on the validation split.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import torch
import typer

from models.backends.protocol import Backend, classify
from models.backends.torch import TorchBackend
from models.solvers.settings import SolverSettings
from training.data import Split, load
from training.ladders import choose_threshold
from training.run import load_network

LOOSE = SolverSettings.adaptive("heun2", 1.0)
TIGHT = SolverSettings.adaptive("dopri5", 1e-4)


class Sureness(NamedTuple):
    """How a loose solve compares with a tight solve.

    Attributes:
        loose_error: the error rate of the loose solve.
        tight_error: the error rate of the tight solve.
        differ: how many images get another digit by the tight solve.
        largest_margin: the largest margin of these images; 0 if there are none.
        escalated: the share of all images with a margin below the threshold of a ladder of the two solves.
    """

    loose_error: float
    tight_error: float
    differ: int
    largest_margin: float
    escalated: float


def sureness(backend: Backend, split: Split) -> Sureness:
    """Measure how sure the loose solve of a network is on a split."""
    images, labels = split.images.numpy(), split.labels.numpy()
    loose, tight = classify(backend, images, LOOSE), classify(backend, images, TIGHT)
    margins = loose.margins[loose.digits != tight.digits]
    threshold = choose_threshold(margins, len(images)) if len(margins) else 0.0
    return Sureness(
        float((loose.digits != labels).mean()),
        float((tight.digits != labels).mean()),
        len(margins),
        float(margins.max(initial=0)),
        float((loose.margins < threshold).mean()),
    )


def main(runs: Annotated[list[Path], typer.Argument(help="Folders of fits.")]) -> None:
    """Print how sure the loose solve of each fit is."""
    torch.set_num_threads(1)
    validation = load().validation
    typer.echo(f"| run | error, {LOOSE} | error, {TIGHT} | another digit | largest margin | solved again |")
    typer.echo("| --- | --- | --- | --- | --- | --- |")
    for run in runs:
        network, _ = load_network(run, torch.device("cpu"))
        of = sureness(TorchBackend(network), validation)
        typer.echo(
            f"| {run.name} | {of.loose_error:.2%} | {of.tight_error:.2%} | {of.differ} | {of.largest_margin:.2f} "
            f"| {of.escalated:.2%} |"
        )


if __name__ == "__main__":
    typer.run(main)
