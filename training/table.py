"""Table 1 of Chen et al. 2018 (arXiv 1806.07366) for the fitted networks, with the cost per image."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from models import artifact as artifacts
from models.artifact import Artifact, ArtifactError
from models.backends.onnx import OnnxBackend
from models.backends.torch import load_network
from models.networks.registry import NETWORKS
from training.cost import Cost, training_cost
from training.data import Dataset
from training.evaluate import ErrorRate
from training.profile import TIMED_ROWS, time_per_row
from training.recipe import Recipe

COLUMNS = (
    "name",
    "test error",
    "95 % interval",
    "parameters",
    "gradient",
    "activations, kB",
    "forward, µs",
    "backward, µs",
    "solver",
    "NFE",
    "answer, µs",
)


class Row(NamedTuple):
    """One row of the table: the fits of one recipe.

    Attributes:
        fits: the newest version of a name, and earlier versions with the same recipe and another seed.
        training: the cost of a training step per image.
        answer: the processor seconds per image with the exported graphs, at the default solver.
    """

    fits: list[Artifact]
    training: Cost
    answer: float


def measure_table(models: Path, dataset: Dataset) -> Iterator[Row]:
    """Measure a row for each name in a models folder.

    The training times use as many threads as torch has. The inference times use one thread.

    Raises:
        ArtifactError: the folder has no artifact, or an artifact is damaged.
    """
    groups = [_same_recipe(name) for name in models.glob("*/") if artifacts.newest(name) is not None]
    if not groups:
        raise ArtifactError(f"{models}: contains no artifact")
    for fits in sorted(groups, key=_sort_key):
        yield _measure(fits, dataset)


def render(rows: Iterable[Row]) -> Iterator[str]:
    """The lines of the table, in Markdown."""
    yield _line(COLUMNS)
    yield _line("---" for _ in COLUMNS)
    for row in rows:
        yield _line(_cells(row))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _same_recipe(name: Path) -> list[Artifact]:
    """The newest version of a name, and for each other seed the newest version with the same recipe and dataset."""
    fits = [artifacts.read(version) for version in reversed(artifacts.versions(name))]
    by_seed: dict[int, Artifact] = {}
    for fit in fits:
        if (fit.manifest.dataset, _recipe(fit)) == (fits[0].manifest.dataset, _recipe(fits[0])):
            by_seed.setdefault(fit.manifest.recipe["seed"], fit)
    return list(by_seed.values())


def _recipe(fit: Artifact) -> Recipe:
    fields = {key: value for key, value in fit.manifest.recipe.items() if key != "seed"}
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise ArtifactError(f"{fit.folder}: recipe.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _sort_key(fits: list[Artifact]) -> tuple[int, str]:
    manifest = fits[0].manifest
    return list(NETWORKS).index(manifest.network), manifest.name


def _measure(fits: list[Artifact], dataset: Dataset) -> Row:
    newest, recipe = fits[0], _recipe(fits[0])
    images, labels = (column[: recipe.batch_size] for column in dataset.fit)
    manifest = newest.manifest
    backend = OnnxBackend(newest.folder, manifest.methods)
    validation = dataset.validation.images[:TIMED_ROWS].numpy()
    answer = time_per_row(backend, validation, manifest.default_solver)
    return Row(fits, training_cost(load_network(newest), recipe, images, labels), answer)


def _cells(row: Row) -> tuple[str, ...]:
    manifest, recipe = row.fits[0].manifest, _recipe(row.fits[0])
    tested = [next(measured for measured in fit.manifest.metrics if measured.split == "test") for fit in row.fits]
    errors = sorted(measured.errors for measured in tested)
    # All seeds are tested on the same images, so the mean has the same interval as one seed.
    mean = ErrorRate(round(sum(errors) / len(errors)), tested[0].rows)
    low, high = mean.interval
    each = f" (of {len(errors)} seeds: {', '.join(f'{count / mean.rows:.2%}' for count in errors)})"
    return (
        manifest.name,
        f"{mean.rate:.2%}{each if len(errors) > 1 else ''}",
        f"{low:.2%} to {high:.2%}",
        f"{manifest.parameters:,}",
        "" if recipe.solver is None else recipe.solver.gradient,
        f"{row.training.memory / 1e3:,.0f}",
        f"{1e6 * row.training.forward:,.0f}",
        f"{1e6 * row.training.backward:,.0f}",
        "" if manifest.default_solver is None else str(manifest.default_solver),
        f"{tested[0].nfe:.1f}",
        f"{1e6 * row.answer:,.0f}",
    )
