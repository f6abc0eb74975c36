"""Fixtures that are made once: the digits, a small dataset, and a small artifact that the real export wrote."""

import json
from pathlib import Path

import pytest
import torch

from models.artifact import MANIFEST, PROFILE, Artifact, read, sha256, step_file
from models.backends.torch import TorchBackend, load_network
from models.networks.registry import NETWORKS
from models.profile import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from training.data import Dataset, Split
from training.data import load as load_dataset
from training.export.write import Source, export
from training.profile import REFERENCE
from training.recipe import RECIPES, read_recipe
from training.run import RunConfig

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
PROFILED = [
    *(SolverSettings(method=method, steps=steps) for method in ("euler", "midpoint", "rk4") for steps in (1, 2)),
    *(SolverSettings.adaptive(method, tolerance) for method in ADAPTIVE for tolerance in (1e1, 1e-1)),
    *(SolverSettings.adaptive(method, 1e-3 if method == "heun2" else 1e-4) for method in ADAPTIVE),
    REFERENCE,
]
"""The settings in the profile of the test artifact; a shipped profile has four times as many."""

METRICS_LINE = '{"epoch": 1, "validation_error": 0.9, "validation_nfe": 4.0}\n'


def pytest_configure() -> None:
    """Compute on one thread. Tests run side by side, and the threads of one operator would wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mnist() -> Dataset:
    """The digits that ship with the repository."""
    return load_dataset()


@pytest.fixture(scope="session")
def few_digits(mnist: Dataset) -> Dataset:
    """A few digits of each split."""
    return Dataset(
        name="few-digits",
        fit=Split(*(column[:64] for column in mnist.fit)),
        validation=Split(*(column[:24] for column in mnist.validation)),
        test=Split(*(column[:32] for column in mnist.test)),
    )


@pytest.fixture(scope="session")
def source(few_digits: Dataset) -> Source:
    """A network before any fit, with the few digits, to be exported."""
    return unfitted("odenet-mnist-fast", few_digits)


def unfitted(recipe: str, dataset: Dataset) -> Source:
    """The network of a recipe before any fit, with a dataset."""
    torch.manual_seed(7)  # with this seed, the network gives several digits, and other digits in a loose solve
    fit_recipe = read_recipe(RECIPES / f"{recipe}.toml").model_copy(update={"precision": "float32"})
    normalisation = dataset.normalisation._replace(levels=fit_recipe.levels)
    config = RunConfig(
        recipe=fit_recipe, seed=7, dataset=dataset.name, normalisation=normalisation, device="cpu", torch="-"
    )
    return Source(NETWORKS[fit_recipe.network](normalisation), config, METRICS_LINE, dataset)


@pytest.fixture(scope="session")
def export_reports() -> list[str | ProfilePoint]:
    """The reports of the export that made `artifact`; empty before the export."""
    return []


@pytest.fixture(scope="session")
def artifact(
    source: Source, export_reports: list[str | ProfilePoint], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """The network of `source`, exported and opened. Tests must not change it."""
    return export(source, tmp_path_factory.mktemp("models"), "small", "3", export_reports.append, solvers=PROFILED)


@pytest.fixture(scope="session")
def profile(artifact: Artifact) -> Profile:
    """The measured trade-off of `artifact`."""
    assert artifact.profile is not None
    return artifact.profile


@pytest.fixture(scope="session")
def default_solver(artifact: Artifact) -> SolverSettings:
    """The default solver of `artifact`."""
    assert artifact.manifest.default_solver is not None
    return artifact.manifest.default_solver


@pytest.fixture(scope="session")
def mlp_artifact(few_digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """A network without an ODE, exported and opened. Tests must not change it."""
    return export(unfitted("mlp", few_digits), tmp_path_factory.mktemp("models"), "discrete", "1", lambda _: None)


@pytest.fixture(scope="session")
def torch_backend(artifact: Artifact) -> TorchBackend:
    """The network of `artifact`, run by torch."""
    return TorchBackend(load_network(artifact))


@pytest.fixture
def artifact_copy(artifact: Artifact, tmp_path: Path) -> Path:
    """The folder of a copy of `artifact`, which a test may change."""
    folder = tmp_path / "small" / "3"
    folder.mkdir(parents=True)
    for path in artifact.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def two_methods(artifact_copy: Path) -> Artifact:
    """A copy of `artifact` that exports only bosh3 and dopri5, as an export without ``--full`` does."""
    kept, manifest = ["bosh3", "dopri5"], json.loads((artifact_copy / MANIFEST).read_text())
    for method in METHODS.keys() - set(kept):
        (artifact_copy / step_file(method)).unlink()
        del manifest["files"][step_file(method)]
    profile = json.loads((artifact_copy / PROFILE).read_text())
    profile["points"] = [point for point in profile["points"] if point["solver"]["method"] in kept]
    profile["ladders"] = profile["ladders"][-1:]  # the reference
    (artifact_copy / PROFILE).write_text(json.dumps(profile))
    manifest["files"][PROFILE] = sha256(artifact_copy / PROFILE)
    default = SolverSettings.adaptive("bosh3", 0.1).model_dump()
    (artifact_copy / MANIFEST).write_text(json.dumps(manifest | {"methods": kept, "default_solver": default}))
    return read(artifact_copy)
