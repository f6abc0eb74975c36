"""The file format of a fitted network: a manifest, checksums and the measured trade-off. This module needs no torch.

An artifact is a folder, ``<models folder>/<name>/<version>/``. Its manifest lists every other file with its SHA-256.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from models import graph_header, weights_header
from models.profile import Frozen, Profile
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
PROFILE = "profile.json"
CARD = "README.md"
METRICS = "metrics.jsonl"
MOST_BYTES = {MANIFEST: 2**20, WEIGHTS: 2**30}
"""Most bytes of a file; a larger file is refused before it is read."""

MOST_OTHER_BYTES = 16 * 2**20
"""The same for the other files."""

MOST_FILES = 64
"""Most files that a manifest may list."""

STEM, DYNAMICS, HEAD, SOLVE = "stem.onnx", "dynamics.onnx", "head.onnx", "solve.onnx"


FITTED = Path(__file__).parent / "fitted"
"""The models folder with the models that ship."""


def step_file(method: str) -> str:
    """The file name of the graph that attempts one step of a method."""
    return f"step-{method}.onnx"


class ArtifactError(Exception):
    """The artifact cannot be read, or a file does not match its checksum; the message names the file."""


Model = TypeVar("Model", bound=BaseModel)


NetworkName = Literal["mlp", "resnet", "odenet", "odenet-strided", "odenet-wide", "stem-only"]
WITH_ODE: tuple[NetworkName, ...] = ("odenet", "odenet-strided", "odenet-wide")
"""The networks that contain an ODE."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PixelNormalisation(Frozen):
    """How the network scales pixels. The exported graphs contain this scaling.

    Attributes:
        mean: the mean of the training pixels, on the scale 0..1.
        std: the standard deviation of the training pixels, on the scale 0..1.
        levels: "fixed" uses the pixels unchanged; "stretched" first stretches the levels of each image so that its
            paper is 0 and its strongest ink is 255 (`models.networks.layers.stretch`).
    """

    mean: float
    std: float = Field(gt=0)
    levels: Literal["fixed", "stretched"] = "fixed"


class Calibration(Frozen):
    """How well the predicted probabilities match the measured accuracy.

    Attributes:
        nll: the mean negative logarithm of the probability of the correct class.
        ece: the expected calibration error (Guo et al. 2017, arXiv 1706.04599) with 15 bins of equal width. Images are
            sorted into bins by their greatest probability; the error is the mean, over the images, of the difference
            between the mean greatest probability and the accuracy of their bin.
    """

    nll: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)


class MeasuredError(Frozen):
    """The errors on one split of the data at one solver setting.

    Attributes:
        split: the split of the data.
        solver: the solver setting; None for a network without an ODE.
        nfe: the mean number of function evaluations per image.
        errors: the number of images that were classified wrongly.
        rows: the number of images in the split.
        rate: the share of images that were classified wrongly, 0..1.
        interval: the Wilson 95 % confidence interval of the rate.
        uncalibrated: the calibration at temperature 1; None in an artifact whose `Manifest.schema_version` is 2.
        calibrated: the calibration at the manifest's temperature; None in an artifact whose schema version is 2.
    """

    split: Literal["validation", "test"]
    solver: SolverSettings | None
    nfe: float = Field(ge=0)
    errors: int = Field(ge=0)
    rows: int = Field(ge=1)
    rate: float = Field(ge=0, le=1)
    interval: tuple[float, float]
    uncalibrated: Calibration | None = None
    calibrated: Calibration | None = None


class Manifest(Frozen):
    """The description of an artifact.

    Attributes:
        schema_version: the version of this file format. Version 2 has no fields about calibration. Version 3 has no
            field `normalisation.levels`. Version 4 has no ladders in its profile.
        name: the name under which clients request the model.
        version: a whole number as text. The service uses the greatest version by default.
        network: the name of the network architecture; the architecture and the weights define the model completely.
        parameters: the number of parameters.
        dataset: the data set that the network was fitted on.
        classes: the labels, in the order of the logits.
        normalisation: how the network scales pixels.
        state_shape: the shape of the stem's output for one image: the state of the ODE, or the features that the head
            reads.
        methods: the solver methods for which the artifact has a step graph, at least one of them adaptive; empty for a
            network without an ODE.
        default_solver: the setting for a request without solver fields whose images are solved once; the ladders of
            the profile solve doubtful images again. `solve.onnx` uses the method of this setting. None for a network
            without an ODE.
        temperature: the logits are divided by this number before the softmax. It was fitted on the validation split at
            the default solver. The graphs return undivided logits.
        recipe: the recipe that the network was fitted with.
        metrics: the measured errors at the default solver.
        files: the SHA-256 of every other file, by file name.
    """

    schema_version: Literal[2, 3, 4, 5] = 5
    name: Name
    version: Version
    network: NetworkName
    parameters: int
    dataset: str
    classes: list[str]
    normalisation: PixelNormalisation
    state_shape: list[int]
    methods: list[str]
    default_solver: SolverSettings | None
    temperature: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    recipe: dict[str, Any]
    metrics: list[MeasuredError]
    files: dict[FileName, Sha256] = Field(max_length=MOST_FILES)

    @model_validator(mode="after")
    def _methods_are_known(self) -> Self:
        if unknown := [method for method in self.methods if method not in METHODS]:
            raise ValueError(f"methods: no method is called {', '.join(unknown)}; the methods are {', '.join(METHODS)}")
        if self.network not in WITH_ODE and self.methods:
            raise ValueError(f"methods: the network {self.network} has no ODE, but the list is {self.methods}")
        default = self.default_solver
        if (default is None) != (not self.methods) or (default is not None and default.method not in self.methods):
            raise ValueError(
                f"default_solver: {default} does not use one of methods ({', '.join(self.methods) or 'none'})"
            )
        if self.network in WITH_ODE and not any(METHODS[method].adaptive for method in self.methods):
            raise ValueError(
                f"methods: none of them is adaptive ({', '.join(self.methods) or 'the list is empty'}), but "
                f"the network {self.network} needs an adaptive method for requests with a tolerance"
            )
        if (splits := [measured.split for measured in self.metrics]) != ["validation", "test"]:
            raise ValueError(f"metrics: the splits are {splits}, but must be ['validation', 'test']")
        return self


@dataclass(frozen=True)
class Artifact:
    """An artifact whose every file matches the checksum in its manifest.

    Attributes:
        folder: the folder of the artifact.
        manifest: the description of the artifact.
        profile: the measured trade-off; None for a network without an ODE.
        card: the model card, as Markdown.
    """

    folder: Path
    manifest: Manifest
    profile: Profile | None
    card: str


def versions(folder: Path) -> list[Path]:
    """The version folders in the folder of a model name, in ascending order of version."""
    numbered = (version for version in folder.glob("[1-9]*/") if version.name.isdecimal())
    return sorted(numbered, key=lambda version: int(version.name))


def newest(folder: Path) -> Path | None:
    """The folder of the greatest version in the folder of a model name; None if it has no version."""
    return next(reversed(versions(folder)), None)


def read(folder: Path) -> Artifact:
    """Open an artifact and check every file that its manifest lists.

    Raises:
        ArtifactError: the manifest is missing, cannot be read or has an invalid field; or a file is missing, altered,
            too large, not valid, or not listed.
    """
    manifest = read_manifest(folder)
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            actual = sha256(_readable(path))
        except OSError as error:
            raise ArtifactError(f"{path}: listed in {MANIFEST} and cannot be read ({error.strerror})") from error
        if actual != expected:
            raise ArtifactError(f"{path}: altered; its SHA-256 is {actual}, and {MANIFEST} says {expected}")
    required = {WEIGHTS, CARD, METRICS, STEM, HEAD}
    if manifest.methods:
        required |= {PROFILE, DYNAMICS, *map(step_file, manifest.methods)}
    if missing := required - manifest.files.keys():
        raise ArtifactError(f"{folder / MANIFEST}: lists no {', '.join(sorted(missing))}")
    for path in folder.iterdir():
        if path.name not in {MANIFEST, *manifest.files} and not path.name.startswith("."):
            raise ArtifactError(f"{path}: is not listed in {MANIFEST}, so nothing says what it should hold")
    profile = _read_profile(folder / PROFILE, manifest.methods) if manifest.methods else None
    for name in manifest.files:
        _check_header(folder / name)
    try:
        card = (folder / CARD).read_text(encoding="utf-8")
    except ValueError as error:
        raise ArtifactError(f"{folder / CARD}: is not text in UTF-8 ({error})") from error
    return Artifact(folder, manifest, profile, card)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an artifact.

    Raises:
        ArtifactError: the manifest is missing, cannot be read or has an invalid field.
    """
    return _parse(Manifest, folder / MANIFEST)


def _check_header(path: Path) -> None:
    """Check the header of a graph or of the weights."""
    checks = {".onnx": graph_header.check, ".safetensors": weights_header.check}
    try:
        checks.get(path.suffix, lambda _: None)(path)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _read_profile(path: Path, methods: list[str]) -> Profile:
    profile = _parse(Profile, path)
    measured = {point.solver.method for point in profile.points}
    climbed = {rung.solver.method for ladder in profile.ladders for rung in ladder.rungs}
    if unmeasured := set(methods) - measured:
        raise ArtifactError(f"{path}: has no point for {', '.join(sorted(unmeasured))}")
    if unlisted := (measured | climbed) - set(methods):
        raise ArtifactError(f"{path}: uses {', '.join(sorted(unlisted))}, which is not in methods of {MANIFEST}")
    return profile


def _readable(path: Path) -> Path:
    """Return the path if reading the file surely ends: it is no pipe and no device, and not too large."""
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path}: cannot be read, because it is not a regular file")
    size, most = path.stat().st_size, MOST_BYTES.get(path.name, MOST_OTHER_BYTES)
    if size > most:
        raise ArtifactError(f"{path}: has {size:,} bytes; the limit is {most:,}")
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as lower-case hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate_json(_readable(path).read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error
