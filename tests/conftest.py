"""Real parts, made once: the digits, a few of them as a dataset, and a small artifact that the real export wrote."""

from pathlib import Path

import pytest
import torch

from models.artifact import Artifact, ProfilePoint
from models.backends.torch import TorchBackend, load_network
from models.networks.odenet import ODENet
from training.data import Dataset, Split
from training.data import load as load_dataset
from training.export.write import Source, export
from training.fit import RunConfig
from training.recipe import RECIPES, read_recipe


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
        validation=Split(*(column[:48] for column in mnist.validation)),
        test=Split(*(column[:32] for column in mnist.test)),
    )


@pytest.fixture(scope="session")
def source(few_digits: Dataset) -> Source:
    """A network as it is before any fit, to export; on the few digits."""
    torch.manual_seed(20180619)
    recipe = read_recipe(RECIPES / "odenet-mnist.toml")
    config = RunConfig(
        recipe=recipe, seed=7, dataset=few_digits.name, normalisation=few_digits.normalisation, device="cpu", torch="-"
    )
    return Source(ODENet(few_digits.normalisation), config, few_digits)


@pytest.fixture(scope="session")
def export_reports() -> list[str | ProfilePoint]:
    """What the export of `artifact` reported, once that has been made."""
    return []


@pytest.fixture(scope="session")
def artifact(
    source: Source, export_reports: list[str | ProfilePoint], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    """That network, exported and opened; not to be changed."""
    return export(source, tmp_path_factory.mktemp("models"), "small", "3", export_reports.append)


@pytest.fixture(scope="session")
def torch_backend(artifact: Artifact) -> TorchBackend:
    """Its network, run by torch."""
    return TorchBackend(load_network(artifact))


@pytest.fixture
def artifact_copy(artifact: Artifact, tmp_path: Path) -> Path:
    """The folder of a copy of the artifact, to be changed at will."""
    folder = tmp_path / "small" / "3"
    folder.mkdir(parents=True)
    for path in artifact.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder
