"""The command line of training: ``python -m training fit|evaluate|profile|export|calibrate|table``."""

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
from models.artifact import MANIFEST, METRICS, Artifact, ArtifactError, ProfilePoint
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.backends.torch import TorchBackend
from models.backends.torch import load_network as load_exported_network
from models.solvers.adjoint import SolveError
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training import processes
from training import profile as profiles
from training.checkpoint import CheckpointError
from training.data import MNIST, VALIDATION_ROWS, DataError
from training.data import load as load_dataset
from training.distil import open_teachers
from training.evaluate import error_rate
from training.fit import Fit
from training.recipe import RECIPES, RecipeError, read_recipe
from training.run import CHECKPOINT, as_begun, load_network, run
from training.table import measure_table, render

MODELS = Path(artifacts.__file__).parent / "fitted"
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
    epilog="The usual order: fit, evaluate, export, table. What is chosen is chosen on the validation split.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = Console(soft_wrap=True)


class Device(StrEnum):
    """Where to compute."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class BackendName(StrEnum):
    """What computes."""

    onnxruntime = "onnxruntime"
    torch = "torch"


class SplitName(StrEnum):
    """Which rows of the dataset."""

    validation = "validation"
    test = "test"


DataOption = Annotated[
    Path, typer.Option("--data", help="Folder of four IDX files named as MNIST's, plain or gzipped.")
]
ModelsOption = Annotated[Path, typer.Option(help="The models folder.")]
DeviceOption = Annotated[Device, typer.Option(help="Where to compute; auto takes CUDA where there is one.")]


@app.command()
def fit(
    name: Annotated[str, typer.Argument(help="The recipe's name, and that of the run.")] = "odenet-mnist",
    recipe: Annotated[
        Path | None, typer.Option(help="A recipe's TOML file.  [default: training/recipes/NAME.toml]")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--run", help="The run folder: config, metrics, checkpoint.  [default: runs/NAME]"),
    ] = None,
    data: DataOption = MNIST,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's number.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Of everything random.")] = 0,
    device: DeviceOption = Device.auto,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run folder's last checkpoint.")] = False,
) -> None:
    """Fit a network by a recipe.

    After each epoch the run folder receives a checkpoint (written atomically), a line in metrics.jsonl, and
    TensorBoard scalars. A fit that was interrupted goes on with --resume, exactly as it would have.
    """
    with _failures():
        told = read_recipe(recipe or RECIPES / f"{name}.toml")
        if epochs is not None:
            told = told.model_copy(update={"epochs": epochs})
        where, folder = _device(device), folder or Path("runs") / name
        if resume:
            told = as_begun(told, folder)
        with processes.joined(where):
            teachers = open_teachers(told.distil.teachers, where) if told.distil else ()
            under_way = Fit(told, load_dataset(data), where, seed, teachers)
            run(under_way, folder, console, resume=resume)


@app.command()
def evaluate(
    target: Annotated[
        Path, typer.Argument(help="A run folder, or that of an artifact or of its newest version.")
    ] = MODELS / "odenet-mnist",
    split: Annotated[SplitName, typer.Option(help="The test split is for reporting, never for choosing.")] = (
        SplitName.validation
    ),
    method: Annotated[str | None, typer.Option(help=f"One of {', '.join(METHODS)}.  [default: the model's]")] = None,
    tolerance: Annotated[float | None, typer.Option(help="rtol and atol of an adaptive method.")] = None,
    steps: Annotated[int | None, typer.Option(help="Number of steps of a fixed-step method.")] = None,
    data: DataOption = MNIST,
    backend: Annotated[BackendName, typer.Option(help="What runs an artifact; a run is run by torch.")] = (
        BackendName.onnxruntime
    ),
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.cpu,
) -> None:
    """Print the error of a fitted network on a split, with its 95 % interval, and what it cost."""
    with _failures():
        opened, default = _open(target, backend, _device(device).type)
        solver = _solver(default, method, tolerance, steps)
        dataset = load_dataset(data)
        images, labels = dataset.test if split is SplitName.test else dataset.validation
        answer = classify(opened, images.numpy(), solver)
        error = error_rate(answer.digits, labels.numpy())
        cost = "" if solver is None else f" by {solver}, {answer.nfe.mean():.2f} NFE an image"
        console.print(f"{split} error {error}{cost}", highlight=False)


@app.command()
def profile(
    target: Annotated[
        Path, typer.Argument(help="A run folder, or that of an artifact or of its newest version.")
    ] = MODELS / "odenet-mnist",
    data: DataOption = MNIST,
) -> None:
    """Measure error, agreement and cost of every method and tolerance on the validation split, on one thread.

    Takes some minutes. An export does the same, and keeps the result in its profile.json.
    """
    with _failures():
        torch.set_num_threads(1)
        backend, default = _open(target, BackendName.onnxruntime, "cpu")
        if default is None:
            raise ValueError(f"{target}: solves no ODE, so there is no trade-off to measure")
        images, labels = load_dataset(data).validation
        table = Table("solver", "error", "agreement", "NFE mean", "NFE 99 %", "rejected", "ms an image")
        with Live(table, console=console, vertical_overflow="visible"):
            for point in profiles.measure(backend, images.numpy(), labels.numpy(), profiles.settings()):
                table.add_row(*_cells(point))


@app.command()
def export(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder of a fit.")] = Path("runs/odenet-mnist"),
    name: Annotated[
        str | None, typer.Option(help="What callers of the service ask for.  [default: the run folder's]")
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Of the artifact.  [default: one more than the last]")
    ] = None,
    models: ModelsOption = MODELS,
    rows: Annotated[
        int, typer.Option(min=1, max=VALIDATION_ROWS, help="Validation images to measure the trade-off on.")
    ] = VALIDATION_ROWS,
    methods: Annotated[
        list[str], typer.Option("--method", help="A method to offer; may be repeated.  [default: every method]")
    ] = list(METHODS),  # noqa: B006 (typer reads the default once)
    data: DataOption = MNIST,
) -> None:
    """Export a fitted network as an artifact that the service can load.

    Writes the weights, the ONNX graphs (which must answer as torch does on 1,000 digits), the measured trade-off, a
    model card and a manifest with checksums, and renames the whole into MODELS/NAME/VERSION when all is there.
    """
    from training.export.write import Source  # noqa: PLC0415 (a fit starts two seconds sooner without the exporter)
    from training.export.write import export as write_artifact  # noqa: PLC0415

    with _failures():
        network, config = load_network(source, torch.device("cpu"))
        name = name or source.resolve().name
        chosen = str(version or _next_version(models / name))
        told = Source(network, config, (source / METRICS).read_text(), load_dataset(data))
        written = write_artifact(told, models, name, chosen, _report, rows, methods)
        console.print(f"written: {written.folder}")
        for measured in written.manifest.metrics:
            low, high = measured.interval
            console.print(f"{measured.split} error {measured.rate:.2%} ({low:.2%} to {high:.2%})")


@app.command()
def calibrate(
    targets: Annotated[
        list[Path], typer.Argument(metavar="ARTIFACT...", help="The folders of artifacts, or of their newest versions.")
    ],
    data: DataOption = MNIST,
) -> None:
    """Fit the temperature of exported artifacts anew, on the validation split, and write it into manifest and card.

    An export does the same. No graph, weight or digit changes, so that the version stays.
    """
    from training.export.calibrate import calibrate as calibrate_artifact  # noqa: PLC0415

    with _failures():
        dataset = load_dataset(data)
        for target in targets:
            manifest = calibrate_artifact(artifacts.read(artifacts.newest(target) or target), dataset).manifest
            for measured in manifest.metrics:
                before, after = measured.uncalibrated, measured.calibrated
                if before and after:
                    change = f"{measured.split} ECE {before.ece:.2%} to {after.ece:.2%}"
                    console.print(f"{manifest.name} at {manifest.temperature:g}: {change}", highlight=False)


@app.command()
def table(
    models: ModelsOption = MODELS,
    data: DataOption = MNIST,
) -> None:
    """Print the table of the fitted networks: error, size, and what training and answering cost on one thread.

    The errors are those that the exports measured, which `evaluate` measures again; memory and the processor's times
    are measured now.
    """
    with _failures():
        torch.set_num_threads(1)
        for line in render(measure_table(models, load_dataset(data))):
            typer.echo(line)


@contextmanager
def _failures() -> Iterator[None]:
    """Say what went wrong in a line, and exit with 1."""
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


def _open(target: Path, backend: BackendName, device: str) -> tuple[Backend, SolverSettings | None]:
    """What runs an artifact or a run, and its default solver."""
    target = artifacts.newest(target) or target
    if (target / MANIFEST).is_file():
        opened: Artifact = artifacts.read(target)
        manifest = opened.manifest
        if backend is BackendName.torch:
            return TorchBackend(load_exported_network(opened), device), manifest.default_solver
        return OnnxBackend(target, manifest.methods, device, threads=torch.get_num_threads()), manifest.default_solver
    if (target / CHECKPOINT).is_file():
        network, config = load_network(target, torch.device(device))
        told = config.recipe.validation
        return TorchBackend(network, device), None if told is None else SolverSettings.adaptive(**told.model_dump())
    raise ValueError(f"{target}: neither an artifact ({MANIFEST}) nor a run ({CHECKPOINT})")


def _solver(
    default: SolverSettings | None, method: str | None, tolerance: float | None, steps: int | None
) -> SolverSettings | None:
    """The caller's choice, completed by the default; None for a network without an ODE."""
    if default is None:
        if (method, tolerance, steps) != (None, None, None):
            raise ValueError("it solves no ODE, and takes no method, tolerance or steps")
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


def _report(event: str | ProfilePoint) -> None:
    console.print(event if isinstance(event, str) else "  ".join(_cells(event)), highlight=False)


def _cells(point: ProfilePoint) -> tuple[str, ...]:
    return (
        str(point.solver),
        f"{point.error:.2%}",
        f"{point.agreement:.2%}",
        f"{point.nfe.mean:.1f}",
        str(point.nfe.p99),
        f"{point.rejected:.2f}",
        f"{point.milliseconds_per_row:.3f}",
    )
