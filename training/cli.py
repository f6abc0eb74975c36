"""The command line of training: ``python -m training fit|evaluate|profile|export|calibrate|ladders|table``."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import torch
import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from models import artifact as artifacts
from models.artifact import FITTED, METRICS, SOLVE, ArtifactError
from models.backends.protocol import classify
from models.profile import Ladder
from models.solvers.adjoint import SolveError
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training import processes
from training import profile as profiles
from training.checkpoint import CheckpointError
from training.data import MNIST, VALIDATION_ROWS, DataError
from training.data import load as load_dataset
from training.distil import open_teachers, with_newest_teachers
from training.evaluate import error_rate
from training.export.report import COLUMNS, ConsoleReport, cells
from training.fit import Fit
from training.fitted import open_backend, open_fitted
from training.ladders import measure_ladders
from training.recipe import RECIPES, RecipeError, read_recipe
from training.run import load_network, run, with_decided_precision
from training.table import measure_table, render

QUICK_ROWS = 200
QUICK_METHODS = ("bosh3", "dopri5")
FAILURES = (
    ArtifactError,
    CheckpointError,
    DataError,
    OSError,
    RecipeError,
    SolveError,
    ValueError,
)

app = typer.Typer(
    help="Fit networks on digits, measure them, and export them for the service.",
    epilog="The usual order: fit, evaluate, export, table. Every choice is made on the validation split.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(soft_wrap=True)


class Device(StrEnum):
    """The device to compute on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class BackendName(StrEnum):
    """The backend that computes."""

    onnxruntime = "onnxruntime"
    torch = "torch"


class SplitName(StrEnum):
    """The split of the dataset to evaluate on."""

    validation = "validation"
    test = "test"


ArtifactsArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="ARTIFACT...", help="Artifact folders, or models folders of a name (their newest versions)."
    ),
]
DataOption = Annotated[
    Path, typer.Option("--data", help="Folder of four IDX files with MNIST's file names, plain or gzipped.")
]
ModelsOption = Annotated[Path, typer.Option(help="The models folder.")]
DeviceOption = Annotated[Device, typer.Option(help="Device to compute on; auto uses CUDA if it is available.")]


@app.command()
def fit(
    name: Annotated[str, typer.Argument(help="Name of the recipe and of the run.")] = "odenet-mnist",
    recipe: Annotated[
        Path | None, typer.Option(help="TOML file of a recipe.  [default: training/recipes/NAME.toml]")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--run", help="Run folder for config, metrics and checkpoint.  [default: runs/NAME]"),
    ] = None,
    data: DataOption = MNIST,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs, instead of the number in the recipe.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Seed of all random numbers.")] = 0,
    device: DeviceOption = Device.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Resume from the run folder's last checkpoint.")] = False,
) -> None:
    """Fit a network with a recipe.

    After each epoch the run folder receives a line in metrics.jsonl, TensorBoard scalars, and a checkpoint (written
    atomically). After an interruption, --resume continues the fit and gives exactly the same result.
    """
    with _report_failures():
        fit_recipe = with_newest_teachers(read_recipe(recipe or RECIPES / f"{name}.toml"))
        if epochs is not None:
            fit_recipe = fit_recipe.model_copy(update={"epochs": epochs})
        torch_device, folder = _device(device), folder or Path("runs") / name
        if resume:
            fit_recipe = with_decided_precision(fit_recipe, folder)
        with processes.joined(torch_device):
            teachers = open_teachers(fit_recipe.distil.teachers, torch_device) if fit_recipe.distil else ()
            start = open_fitted(Path(fit_recipe.start), torch_device)[0] if fit_recipe.start else None
            new_fit = Fit(fit_recipe, load_dataset(data), torch_device, seed, teachers, start)
            run(new_fit, folder, console, resume=resume)


@app.command()
def evaluate(
    target: Annotated[
        Path, typer.Argument(help="Run folder, artifact folder, or models folder of a name (its newest version).")
    ] = FITTED / "odenet-mnist",
    split: Annotated[
        SplitName, typer.Option(help="Split to evaluate on. The test split is for reporting, never for choosing.")
    ] = SplitName.validation,
    method: Annotated[str | None, typer.Option(help=f"One of {', '.join(METHODS)}.  [default: the model's]")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Value of rtol and atol for an adaptive method.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps of a fixed-step method.")] = None,
    data: DataOption = MNIST,
    backend: Annotated[BackendName, typer.Option(help="Backend for an artifact; a run always uses torch.")] = (
        BackendName.onnxruntime
    ),
    device: Annotated[Device, typer.Option(help="Device to compute on.")] = Device.cpu,
) -> None:
    """Print the error of a fitted network on a split, with its 95 % interval, and its cost in function evaluations."""
    with _report_failures():
        opened = open_backend(target, _device(device).type, by_torch=backend is BackendName.torch)
        solver = _solver(opened.solver, method, tolerance, steps)
        if solver is not None and solver.method not in opened.methods:
            has = ", ".join(opened.methods)
            raise ValueError(f"method {solver.method}: {target} does not have this method; its methods are {has}")
        dataset = load_dataset(data)
        images, labels = dataset.test if split is SplitName.test else dataset.validation
        answer = classify(opened.backend, images.numpy(), solver)
        error = error_rate(answer.digits, labels.numpy())
        cost = "" if solver is None else f" by {solver}, {answer.nfe.mean():.2f} NFE per image"
        console.print(f"{split} error {error}{cost}", highlight=False)


@app.command()
def profile(
    target: Annotated[
        Path, typer.Argument(help="Run folder, artifact folder, or models folder of a name (its newest version).")
    ] = FITTED / "odenet-mnist",
    data: DataOption = MNIST,
) -> None:
    """Measure error, agreement and cost of each method and tolerance on the validation split, on one thread.

    Then measure the ladders, which solve only doubtful images tightly. The measurement takes some minutes. An export
    makes the same measurement and saves it in profile.json; `ladders` measures only the ladders, and saves them.

    A run has every method. An artifact has the methods that it exports.
    """
    with _report_failures():
        torch.set_num_threads(1)
        backend, _, methods = open_backend(target, "cpu")
        if not methods:
            raise ValueError(f"{target}: solves no ODE, so there is no trade-off to measure")
        images, labels = load_dataset(data).validation
        table = Table(*COLUMNS)
        with Live(table, console=console, vertical_overflow="visible"):
            points = []
            for point in profiles.measure(backend, images.numpy(), labels.numpy(), profiles.settings(methods)):
                points.append(point)
                table.add_row(*cells(point))
        for ladder in measure_ladders(backend, images.numpy(), points):
            console.print(_line(ladder), highlight=False)


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of a fit.")] = Path("runs/odenet-mnist"),
    name: Annotated[
        str | None,
        typer.Option(help="Name under which clients request the model.  [default: the name of the run folder]"),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version of the artifact.  [default: one more than the last]")
    ] = None,
    models: ModelsOption = FITTED,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help=f"Export every method and {SOLVE}, and measure on all {VALIDATION_ROWS:,} validation images."
        ),
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=VALIDATION_ROWS,
            help=f"Number of validation images to measure the trade-off on.  [default: {QUICK_ROWS}]",
        ),
    ] = None,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help=f"A method to export; may be repeated.  [default: {' and '.join(QUICK_METHODS)}]"
        ),
    ] = None,
    data: DataOption = MNIST,
) -> None:
    """Export a fitted network as an artifact that the service can load.

    The export writes the weights, the ONNX graphs (their logits must agree with torch), the measured trade-off, a model
    card and a manifest with checksums. When every file is written, it renames the folder to MODELS/NAME/VERSION.

    By default the export is quick: it takes about a minute. --full takes many minutes. Use it for an artifact that you
    keep, because its measurement proves more.
    """
    from training.export.write import Source  # noqa: PLC0415 (a fit starts two seconds faster without the exporter)
    from training.export.write import export as write_artifact  # noqa: PLC0415

    with _report_failures():
        network, config = load_network(source, torch.device("cpu"))
        name = name or source.resolve().name
        new_version = str(version or _next_version(models / name))
        fitted = Source(network, config, (source / METRICS).read_text(), load_dataset(data))
        rows = rows or (VALIDATION_ROWS if full else QUICK_ROWS)
        methods = methods or list(METHODS if full else QUICK_METHODS)
        artifact = write_artifact(
            fitted, models, name, new_version, ConsoleReport(console), rows, methods, whole_solve=full
        )
        console.print(f"written: {artifact.folder}")
        for measured in artifact.manifest.metrics:
            low, high = measured.interval
            console.print(f"{measured.split} error {measured.rate:.2%} ({low:.2%} to {high:.2%})")


@app.command()
def calibrate(
    targets: ArtifactsArgument,
    data: DataOption = MNIST,
) -> None:
    """Fit the temperature of exported artifacts again, on the validation split, and update manifest and card.

    An export makes the same fit. No graph, weight or digit changes, so the version stays the same.
    """
    from training.export.calibrate import calibrate as calibrate_artifact  # noqa: PLC0415

    with _report_failures():
        dataset = load_dataset(data)
        for target in targets:
            manifest = calibrate_artifact(artifacts.read(artifacts.newest(target) or target), dataset).manifest
            for measured in manifest.metrics:
                before, after = measured.uncalibrated, measured.calibrated
                if before and after:
                    change = f"{measured.split} ECE {before.ece:.2%} to {after.ece:.2%}"
                    console.print(f"{manifest.name} at {manifest.temperature:g}: {change}", highlight=False)


@app.command()
def ladders(
    targets: ArtifactsArgument,
    data: DataOption = MNIST,
) -> None:
    """Measure the ladders of exported artifacts again, on the validation split; update profile, card and manifest.

    A ladder solves an image loosely, and again tightly if the margin of its two greatest logits is small. An export
    makes the same measurement. No graph or weight changes, so the version stays the same.
    """
    from training.export.ladders import update_ladders  # noqa: PLC0415

    with _report_failures():
        torch.set_num_threads(1)
        dataset = load_dataset(data)
        for target in targets:
            updated = update_ladders(artifacts.read(artifacts.newest(target) or target), dataset)
            for ladder in updated.profile.ladders if updated.profile else ():
                console.print(f"{updated.manifest.name}: {_line(ladder)}", highlight=False)


@app.command()
def table(
    models: ModelsOption = FITTED,
    data: DataOption = MNIST,
) -> None:
    """Print the table of the fitted networks: error, size, and the cost of training and inference on one thread.

    The errors come from the exports; `evaluate` can measure them again. The command measures memory and processor time
    when it runs.
    """
    with _report_failures():
        torch.set_num_threads(1)
        for line in render(measure_table(models, load_dataset(data))):
            typer.echo(line)


@contextmanager
def _report_failures() -> Iterator[None]:
    """Print an expected failure as one line, and exit with status 1."""
    try:
        yield
    except ValidationError as error:
        messages = "; ".join(f"{'.'.join(map(str, e['loc']))} {e['msg']}".strip() for e in error.errors())
        typer.secho(f"error: {messages}", fg="red", err=True)
        raise typer.Exit(1) from error
    except FAILURES as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise typer.Exit(1) from error


def _device(device: Device) -> torch.device:
    if device is Device.auto:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device is Device.cuda and not torch.cuda.is_available():
        raise ValueError("device cuda: torch sees no CUDA device")
    return torch.device(device.value)


def _solver(
    default: SolverSettings | None, method: str | None, tolerance: float | None, steps: int | None
) -> SolverSettings | None:
    """The setting from the command line, completed by the default; None for a network without an ODE."""
    if default is None:
        if (method, tolerance, steps) != (None, None, None):
            raise ValueError("the network solves no ODE, so --method, --tolerance and --steps do not apply")
        return None
    if method is None and steps is None:
        return default if tolerance is None else SolverSettings.adaptive(default.method, tolerance)
    chosen = method or default.method
    if steps is None and tolerance is None and chosen in METHODS and METHODS[chosen].adaptive:
        return SolverSettings(method=chosen, rtol=default.rtol, atol=default.atol)
    return SolverSettings(method=chosen, rtol=tolerance, atol=tolerance, steps=steps)


def _next_version(folder: Path) -> int:
    last = artifacts.newest(folder)
    return 1 if last is None else int(last.name) + 1


def _line(ladder: Ladder) -> str:
    """A ladder in one line."""
    return (
        f"{ladder}: agreement {ladder.agreement:.2%}, at least {ladder.bound:.2%} with {ladder.confidence:.0%} "
        f"confidence, {ladder.escalated:.2%} solved again, {ladder.nfe.mean:.2f} NFE an image"
    )
