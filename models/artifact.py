"""The on-disk form of a fitted network: a manifest, checksums, the measured trade-off. Free of torch.

An artifact is a folder, ``<models folder>/<name>/<version>/``, of files that the manifest lists with their SHA-256.
"""

import hashlib
import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
PROFILE = "profile.json"
CARD = "README.md"
METRICS = "metrics.jsonl"
SUFFICIENT_AGREEMENT = 0.999
"""Share of digits in common with the tight reference at which a setting is as good as it."""

STEM, DYNAMICS, HEAD, SOLVE = "stem.onnx", "dynamics.onnx", "head.onnx", "solve.onnx"


def step_file(method: str) -> str:
    """The name of the graph of one step of a method."""
    return f"step-{method}.onnx"


class ArtifactError(Exception):
    """The artifact cannot be trusted or read; the message names the file."""


Model = TypeVar("Model", bound=BaseModel)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


NetworkName = Literal["mlp", "resnet", "odenet", "odenet-strided", "odenet-wide", "stem-only"]
WITH_ODE: tuple[NetworkName, ...] = ("odenet", "odenet-strided", "odenet-wide")
"""The networks that solve an ODE."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)]
Version = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PixelNormalisation(_Frozen):
    """How the network scales pixels, which its graphs do themselves.

    Attributes:
        mean: of the training pixels, on the scale 0..1.
        std: their standard deviation, on the same scale.
        levels: whether pixels are taken as they are, or the levels of each picture are first stretched so that its
            paper is 0 and its strongest ink 255 (`models.networks.layers.stretch`).
    """

    mean: float
    std: float = Field(gt=0)
    levels: Literal["fixed", "stretched"] = "fixed"


class Calibration(_Frozen):
    """How far probabilities are from the shares of the rows that are right.

    Attributes:
        nll: the mean negative logarithm of the probability of the right class.
        ece: the expected calibration error (Guo et al. 2017, arXiv 1706.04599) in 15 bins of equal width: the mean
            difference, over the rows, of the greatest probability and the share of right rows in its bin.
    """

    nll: float = Field(ge=0)
    ece: float = Field(ge=0, le=1)


class MeasuredError(_Frozen):
    """Errors on a split at one setting of the solver, with Wilson's 95 % interval of the rate.

    Attributes:
        solver: None for a network without an ODE.
        nfe: mean of function evaluations a row.
        uncalibrated: at temperature 1; None, as the next, for an artifact of form 2 (`Manifest.schema_version`).
        calibrated: at the manifest's temperature.
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


class Manifest(_Frozen):
    """What an artifact says of itself.

    Attributes:
        schema_version: of this form; 2 had no fields about calibration, and 3 no field `normalisation.levels`.
        name: what callers ask for.
        version: a whole number as text; the greatest is the one served by default.
        network: which; together with the weights that is all there is to it.
        parameters: how many.
        dataset: what it was fitted on.
        classes: the labels, in the order of the logits.
        normalisation: of the pixels.
        state_shape: the shape, for one row, of what the stem hands on: the ODE's state, or the head's features.
        methods: those for which the artifact has a step; none for a network without an ODE.
        default_solver: what a request without solver fields gets; also what `solve.onnx` holds the method of. None for
            a network without an ODE.
        temperature: what logits are divided by before they become probabilities; fitted on the validation split at
            the default solver. The graphs give logits as they are.
        recipe: how the network was fitted.
        metrics: its measured errors at the default solver.
        files: the SHA-256 of every other file.
    """

    schema_version: Literal[2, 3, 4] = 4
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
    files: dict[FileName, Sha256]

    @model_validator(mode="after")
    def _methods_are_known(self) -> Self:
        if unknown := [method for method in self.methods if method not in METHODS]:
            raise ValueError(f"methods: none is called {', '.join(unknown)}; there are {', '.join(METHODS)}")
        if bool(self.methods) != (self.network in WITH_ODE):
            raise ValueError(f"methods: {self.network} has {'some' if self.network in WITH_ODE else 'none'}")
        default = self.default_solver
        if (default is None) != (not self.methods) or (default is not None and default.method not in self.methods):
            raise ValueError(
                f"default_solver: {default} is not by one of methods ({', '.join(self.methods) or 'none'})"
            )
        if [measured.split for measured in self.metrics] != ["validation", "test"]:
            raise ValueError("metrics: are of the validation and the test split")
        return self


class Distribution(_Frozen):
    """The number of function evaluations over the rows of a split."""

    mean: float
    p50: int
    p90: int
    p99: int
    max: int


class ProfilePoint(_Frozen):
    """What one setting of the solver gives and costs.

    Attributes:
        solver: the setting.
        error: the share of rows that are wrong.
        agreement: the share of rows with the same digit as the tight reference.
        logit_deviation: the mean over rows of the greatest difference of a logit from the tight reference.
        nfe: function evaluations a row.
        rejected: mean of rejected steps a row.
        unconverged: rows that were given up before t = 1; their answers count like any other.
        milliseconds_per_row: the processor's time for the whole answer, stem and head included, in batches on one
            thread; the best of several passes, where one is not long.
    """

    solver: SolverSettings
    error: float
    agreement: float
    logit_deviation: float
    nfe: Distribution
    rejected: float
    unconverged: int
    milliseconds_per_row: float


class Profile(_Frozen):
    """The measured work-precision table.

    Attributes:
        split: what it was measured on.
        rows: how many rows that has.
        batch_size: rows solved together.
        processor: what it was timed on; times differ between machines, the rest does not.
        reference: the tight setting that `agreement` and `logit_deviation` compare with.
        points: the table.
    """

    split: Literal["validation"]
    rows: int
    batch_size: int
    processor: str
    reference: SolverSettings
    points: list[ProfilePoint]

    def cheapest(self, methods: Collection[str]) -> SolverSettings:
        """The setting of the fewest evaluations whose digits are, but for one in a thousand, the reference's.

        Of settings that cost the same, the one that agrees best, and of those the tightest, which spends more on an
        image that needs it. Where none agrees so well, the one that does most, and of those the one of the most
        evaluations.

        Args:
            methods: those to choose from.
        """
        points = [point for point in self.points if point.solver.method in methods]
        agreeing = [p for p in points if p.agreement >= SUFFICIENT_AGREEMENT and p.unconverged == 0]
        if not agreeing:
            return max(points, key=lambda point: (point.agreement, point.nfe.mean)).solver
        return min(agreeing, key=lambda p: (p.nfe.mean, -p.agreement, p.solver.rtol or 0)).solver

    def method_for(self, tolerance: float) -> str:
        """The adaptive method of the fewest evaluations at the measured tolerance that is nearest to one.

        A low order is the cheapest at a loose tolerance, and a high one at a tight one.
        """
        return min(
            self.points, key=lambda point: (_distance(point, tolerance), point.nfe.mean, -point.agreement)
        ).solver.method

    def nearest(self, solver: SolverSettings) -> ProfilePoint:
        """The measured point of a method that is nearest in tolerance, or in steps."""
        points = [point for point in self.points if point.solver.method == solver.method]
        if solver.rtol is None or solver.atol is None:
            return min(points, key=lambda point: abs((point.solver.steps or 0) - (solver.steps or 0)))
        tolerance = max(solver.rtol, solver.atol)
        return min(points, key=lambda point: _distance(point, tolerance))

    def ladder(self, methods: Collection[str], agreement: float) -> list[ProfilePoint]:
        """The measured points from the tightest to the loosest, each cheaper than the one before.

        Of a tolerance that several adaptive methods have, the point is that of the fewest evaluations.

        Args:
            methods: those to choose from: adaptive ones, or one with a fixed number of steps.
            agreement: the least that a point may have with the tight reference.
        """
        points = [p for p in self.points if p.solver.method in methods and p.agreement >= agreement]
        rungs: list[ProfilePoint] = []
        for point in sorted(points, key=lambda p: (p.solver.rtol or 1 / (p.solver.steps or 1), p.nfe.mean)):
            if point.unconverged == 0 and (not rungs or point.nfe.mean < rungs[-1].nfe.mean):
                rungs.append(point)
        return rungs


def _distance(point: ProfilePoint, tolerance: float) -> float:
    """The ratio of a point's tolerance and another tolerance, the larger one divided by the smaller one.

    The page does the same division (service/web/static/tradeoff-chart.js), so that both round alike.
    """
    rtol = point.solver.rtol
    return math.inf if rtol is None else max(rtol / tolerance, tolerance / rtol)


@dataclass(frozen=True)
class Artifact:
    """A folder whose every file has been checked against its manifest.

    Attributes:
        folder: where it is.
        manifest: what it says of itself.
        profile: its measured trade-off; None for a network without an ODE, which has none.
        card: the model card, as Markdown.
    """

    folder: Path
    manifest: Manifest
    profile: Profile | None
    card: str


def versions(folder: Path) -> list[Path]:
    """The folders of the versions in that of a name, in their order."""
    numbered = (version for version in folder.glob("[1-9]*/") if version.name.isdecimal())
    return sorted(numbered, key=lambda version: int(version.name))


def newest(folder: Path) -> Path | None:
    """Of the versions in the folder of a name, that of the greatest; None where there is none."""
    return next(reversed(versions(folder)), None)


def read(folder: Path) -> Artifact:
    """Open an artifact and check every file that its manifest lists.

    Raises:
        ArtifactError: the manifest is missing, cannot be read or is of another form, or a file is missing or altered.
    """
    manifest = _parse(Manifest, folder / MANIFEST)
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            actual = sha256(_regular(path))
        except OSError as error:
            raise ArtifactError(f"{path}: listed in {MANIFEST} and cannot be read ({error.strerror})") from error
        if actual != expected:
            raise ArtifactError(f"{path}: altered; its SHA-256 is {actual}, and {MANIFEST} says {expected}")
    required = {WEIGHTS, CARD, METRICS, STEM, HEAD}
    if manifest.methods:
        required |= {PROFILE, DYNAMICS, SOLVE, *map(step_file, manifest.methods)}
    if missing := required - manifest.files.keys():
        raise ArtifactError(f"{folder / MANIFEST}: lists no {', '.join(sorted(missing))}")
    profile = _read_profile(folder / PROFILE, manifest.methods) if manifest.methods else None
    return Artifact(folder, manifest, profile, (folder / CARD).read_text(encoding="utf-8"))


def _read_profile(path: Path, methods: list[str]) -> Profile:
    profile = _parse(Profile, path)
    if unmeasured := set(methods) - {point.solver.method for point in profile.points}:
        raise ArtifactError(f"{path}: has no point for {', '.join(sorted(unmeasured))}")
    return profile


def _regular(path: Path) -> Path:
    """A path that is no pipe or device, of which reading might never end."""
    if path.exists() and not path.is_file():
        raise ArtifactError(f"{path}: cannot be read, as it is no regular file")
    return path


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate_json(_regular(path).read_bytes())
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ArtifactError(
            f"{path}: {where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}"
        ) from error
