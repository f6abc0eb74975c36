"""Writes an artifact. All files are written to a temporary folder and checked there; then the folder is renamed."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save_file
from torch import Tensor

from models.artifact import (
    CARD,
    MANIFEST,
    METRICS,
    PROFILE,
    SOLVE,
    WEIGHTS,
    Artifact,
    Manifest,
    MeasuredError,
    Name,
    PixelNormalisation,
    Version,
    read,
    sha256,
)
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend
from models.backends.torch import TorchBackend
from models.networks.network import Network
from models.networks.odenet import ODENet
from models.profile import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training import profile
from training.data import CLASSES, VALIDATION_ROWS, Dataset, Split
from training.export import agreement, graphs
from training.export.card import write_card
from training.export.figure import FIGURE, LADDER_FIGURE, draw, draw_ladders
from training.export.measure import measure
from training.export.update import write_manifest, write_profile
from training.export.weights import share
from training.ladders import measure_ladders
from training.profile import REFERENCE
from training.progress import duration
from training.run import RunConfig

AGREEMENT_ROWS = 1_000

Report = Callable[[str | ProfilePoint], None]


class ExportError(ValueError):
    """The artifact cannot be exported; the message gives the reason."""


@dataclass(frozen=True)
class Source:
    """A fitted network with its run and its dataset, for an export.

    Attributes:
        network: the fitted network, on the CPU.
        config: the config of its run.
        metrics: the content of its run's `metrics.jsonl`.
        dataset: the dataset that it was fitted on.
    """

    network: Network
    config: RunConfig
    metrics: str
    dataset: Dataset


def export(
    source: Source,
    folder: Path,
    name: str,
    version: str,
    report: Report,
    rows: int = VALIDATION_ROWS,
    methods: Sequence[str] = tuple(METHODS),
    solvers: Sequence[SolverSettings] | None = None,
    *,
    whole_solve: bool = True,
) -> Artifact:
    """Export a network to ``<folder>/<name>/<version>``.

    The folder appears only when all of its files are written, measured and checked.

    Args:
        source: the fitted network to export.
        folder: the models folder.
        name: the name of the artifact.
        version: the version of the artifact, a whole number as text.
        report: called with a message at each part of the work, and with each measured point of the profile.
        rows: the number of validation images for the profile.
        methods: the methods of the artifact. They must include dopri5, because it computes the reference.
        solvers: the settings for the profile, at least one of each method. The default is every setting of
            `training.profile.settings` for these methods.
        whole_solve: whether to write `solve.onnx`. The service does not need this graph.

    Returns:
        The new artifact.

    Raises:
        ExportError: the name or the version is invalid, the version exists already, or the dataset is not the one that
            the network was fitted on.
        DisagreementError: the logits of a graph differ from those of torch.
        ArtifactError: the written folder is not a valid artifact.
    """
    _check(source, name, version, methods)
    target = folder / name / version
    if target.exists():
        raise ExportError(f"{target}: exists already; an artifact is never written over")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{version}.", dir=target.parent))
    try:
        solvers = solvers or profile.settings(methods)
        _write(source, partial, name, version, report, rows, methods, solvers, whole_solve=whole_solve)
        artifact = read(partial)
        partial.chmod(0o755)
        partial.rename(target)
    except BaseException:
        shutil.rmtree(partial)
        raise
    return replace(artifact, folder=target)


def _check(source: Source, name: str, version: str, methods: Sequence[str]) -> None:
    """Check the arguments before the long measurement starts."""
    try:
        TypeAdapter(Name).validate_python(name)
        TypeAdapter(Version).validate_python(version)
    except ValidationError as error:
        raise ExportError(
            f"name {name!r}, version {version!r}: not a valid name or version ({error.errors()[0]['msg']})"
        ) from error
    given, fitted = source.dataset, source.config
    normalisation = given.normalisation._replace(levels=fitted.normalisation.levels)
    if (given.name, normalisation) != (fitted.dataset, fitted.normalisation):
        raise ExportError(
            f"dataset: the network was fitted on {fitted.dataset}; the given dataset {given.name} has another name or "
            "other pixels"
        )
    if unknown := sorted(set(methods) - METHODS.keys()):
        raise ExportError(f"methods: no method is called {unknown[0]!r}; the methods are {', '.join(METHODS)}")
    if REFERENCE.method not in methods:
        raise ExportError(f"methods: {REFERENCE.method} is missing, but it computes the reference of the profile")


def _write(
    source: Source,
    folder: Path,
    name: str,
    version: str,
    report: Report,
    rows: int,
    methods: Sequence[str],
    solvers: Sequence[SolverSettings],
    *,
    whole_solve: bool,
) -> None:
    network = source.network
    tensors = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
    save_file(tensors, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes the file private, but another user may run the service
    (folder / METRICS).write_text(source.metrics)

    report("exporting the parts")
    for file, model in graphs.parts(network, methods).items():
        _write_graph(model, folder / file, tensors)

    validation = source.dataset.validation
    images = validation.images[: min(rows, AGREEMENT_ROWS)].numpy()
    report(f"comparing torch with ONNX on {len(images):,} digits")
    methods = methods if isinstance(network, ODENet) else []
    reference, backend = TorchBackend(network), OnnxBackend(folder, methods)
    for part, difference in agreement.check(reference, backend, images, methods).items():
        report(f"{part}: no logit differs by more than {difference:.1e}")

    measured = default = None
    if isinstance(network, ODENet):
        measured = _measure_trade_off(backend, Split(*(column[:rows] for column in validation)), solvers, report)
        default = measured.cheapest([method for method in methods if METHODS[method].adaptive])
        if whole_solve:
            report(f"exporting the whole solve with {default}")
            _write_graph(graphs.whole_solve(network, default.method), folder / SOLVE, tensors)
            difference = agreement.check_whole_solve(reference, folder / SOLVE, default.method, images)
            report(f"{SOLVE}: no logit differs by more than {difference:.1e}")
        (folder / PROFILE).write_text(write_profile(measured))
        draw(measured, default, folder / FIGURE)
        draw_ladders(measured, folder / LADDER_FIGURE)

    report("measuring the errors on the validation split and the test split")
    temperature, metrics = measure(backend, source.dataset, default)
    manifest = _manifest(source, name, version, methods, default, temperature, metrics)
    (folder / CARD).write_text(write_card(manifest, measured))
    files = {path.name: sha256(path) for path in sorted(folder.iterdir())}
    manifest = manifest.model_copy(update={"files": files})
    (folder / MANIFEST).write_text(write_manifest(manifest))


def _write_graph(model: onnx.ModelProto, path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a graph that refers to the weights file in the same folder."""
    share(model, path.with_name(WEIGHTS), tensors)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)


def _measure_trade_off(backend: Backend, split: Split, solvers: Sequence[SolverSettings], report: Report) -> Profile:
    images, labels = split.images.numpy(), split.labels.numpy()
    report(
        f"measuring the trade-off of {len(solvers)} settings on {len(labels):,} images of the validation split, about "
        f"{duration(profile.estimate_seconds(backend, images, solvers))}"
    )
    points = []
    for point in profile.measure(backend, images, labels, solvers):
        points.append(point)
        report(point)
    report("measuring the ladders")
    ladders = measure_ladders(backend, images, points)
    return profile.collect(points, len(labels)).model_copy(update={"ladders": ladders})


def _manifest(
    source: Source,
    name: str,
    version: str,
    methods: Sequence[str],
    default: SolverSettings | None,
    temperature: float,
    metrics: list[MeasuredError],
) -> Manifest:
    """The manifest without the checksums."""
    network, config = source.network, source.config
    return Manifest(
        name=name,
        version=version,
        network=config.recipe.network,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        dataset=config.dataset,
        classes=[str(digit) for digit in range(CLASSES)],
        normalisation=PixelNormalisation(**config.normalisation._asdict()),
        state_shape=list(network.stem(source.dataset.validation.images[:1]).shape[1:]),
        methods=list(methods),
        default_solver=default,
        temperature=temperature,
        recipe={"seed": config.seed, **config.recipe.model_dump(mode="json", exclude_none=True)},
        metrics=metrics,
        files={},
    )
