"""Validation errors of each fitted ODE-Net with solvers other than its training solver.

A network that was fitted with one coarse solver may have learnt the error of that solver along with the digits. Then a
*tighter* solve gives worse answers (Ott et al. 2021, arXiv 2007.15386). The first column has no solve at all: the head
reads the state at t = 0.

    python -m benchmarks.solvers
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from models import artifact as artifacts
from models.artifact import Artifact
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings
from training.data import Split, load
from training.recipe import AdjointGradient

ROOT = Path(__file__).parents[1] / "models"
SOLVERS = (
    None,
    SolverSettings(method="euler", steps=1),
    SolverSettings(method="euler", steps=4),
    SolverSettings(method="rk4", steps=2),
    SolverSettings.adaptive("dopri5", 1e-3),
)


def errors(artifact: Artifact, validation: Split) -> Iterator[float | None]:
    """The validation error of an ODE-Net with each of the solvers; None for a method that the artifact does not export.

    Args:
        artifact: an artifact of a network with an ODE.
        validation: the images and labels.
    """
    methods = artifact.manifest.methods
    backend = OnnxBackend(artifact.folder, methods)
    for solver in SOLVERS:
        if solver is not None and solver.method not in methods:
            yield None
            continue
        digits = classify(backend, validation.images.numpy(), solver).digits
        yield float((digits != validation.labels.numpy()).mean())


def trained_by(artifact: Artifact) -> str:
    """A short description of the training solver."""
    solver = artifact.manifest.recipe["solver"]
    if solver["gradient"] == "adjoint":
        return f"{AdjointGradient.model_validate(solver).settings}, adjoint"
    steps = " or ".join(map(str, solver["steps"]))
    penalty = f", kinetic penalty {solver['kinetic_penalty']:g}" if solver["kinetic_penalty"] else ""
    return f"{solver['method']}, steps {steps}{penalty}"


def main(
    models: Annotated[
        list[Path] | None, typer.Argument(help="Models folders.  [default: fitted and ablations]")
    ] = None,
) -> None:
    """Print the validation error of the newest version of each ODE-Net with each solver, as Markdown.

    A cell is empty if the artifact does not export the method.
    """
    validation = load().validation
    headings = ["name", "fitted by", *("no solve" if solver is None else str(solver) for solver in SOLVERS)]
    typer.echo(f"| {' | '.join(headings)} |")
    typer.echo(f"| {' | '.join('---' for _ in headings)} |")
    for folder in models or [ROOT / "fitted", ROOT / "ablations"]:
        for name in sorted(folder.glob("*/")):
            if (version := artifacts.newest(name)) is None or not (fit := artifacts.read(version)).manifest.methods:
                continue
            measured = ("" if error is None else f"{error:.2%}" for error in errors(fit, validation))
            cells = [fit.manifest.name, trained_by(fit), *measured]
            typer.echo(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    typer.run(main)
