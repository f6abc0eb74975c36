"""Fitted networks of runs and artifacts, and fits that start from them."""

from pathlib import Path

import pytest
import torch

from models.artifact import Artifact
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from tests.training.fits import CPU, recipe, same, silent, without_ode
from training.checkpoint import CheckpointError
from training.data import Dataset
from training.fit import Fit
from training.fitted import open_backend, open_fitted
from training.profile import measure, settings
from training.run import load_network, run


@pytest.fixture(scope="module")
def fitted_run(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a fitted network with an ODE."""
    folder = tmp_path_factory.mktemp("runs") / "fitted"
    run(Fit(recipe(epochs=1, network="odenet-strided"), digits, CPU, seed=1), folder, silent())
    return folder


def test_the_network_of_a_run_is_opened_with_its_validation_solver(fitted_run: Path) -> None:
    network, solver = open_fitted(fitted_run, CPU)
    assert same(network, load_network(fitted_run, CPU)[0])
    assert solver == SolverSettings.adaptive("heun2", 1.0)


def test_an_artifact_and_the_newest_of_a_folder_are_opened(mlp_artifact: Artifact) -> None:
    (network, solver), (newest, _) = (
        open_fitted(folder, CPU) for folder in (mlp_artifact.folder, mlp_artifact.folder.parent)
    )
    assert solver is None
    assert same(network, newest)


def test_a_profile_measures_the_methods_that_an_artifact_exports(two_methods: Artifact, few_digits: Dataset) -> None:
    backend, solver, methods = open_backend(two_methods.folder, "cpu")
    assert methods == ("bosh3", "dopri5")
    assert solver == two_methods.manifest.default_solver
    images, labels = (column[:2].numpy() for column in few_digits.validation)
    measured = [point.solver for point in measure(backend, images, labels, settings(methods))]
    assert {each.method for each in measured} == {"bosh3", "dopri5"}


def test_a_run_has_every_method(fitted_run: Path) -> None:
    assert open_backend(fitted_run, "cpu").methods == tuple(METHODS)


def test_a_network_without_an_ode_has_no_method(mlp_artifact: Artifact) -> None:
    assert open_backend(mlp_artifact.folder, "cpu").methods == ()
    assert open_backend(mlp_artifact.folder, "cpu", by_torch=True).methods == ()


def test_the_error_names_a_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        open_fitted(tmp_path, CPU)


def test_a_fit_starts_from_the_weights_of_a_fitted_network(fitted_run: Path, digits: Dataset) -> None:
    start, _ = open_fitted(fitted_run, CPU)
    fit = Fit(recipe(network="odenet-strided", start=str(fitted_run)), digits, CPU, seed=2, start=start)
    assert same(fit.network, start)
    assert same(fit.average.module, start)
    before = [parameter.clone() for parameter in start.parameters()]
    list(fit.train_epoch())
    assert not same(fit.network, start)
    assert all(torch.equal(*pair) for pair in zip(before, start.parameters(), strict=True)), "the start is not changed"


@pytest.mark.parametrize(
    ("network", "start"), [("odenet", "runs/before"), ("odenet-wide", "runs/before"), ("odenet-strided", None)]
)
def test_a_fit_refuses_a_start_that_is_not_of_its_recipe(
    fitted_run: Path, digits: Dataset, network: str, start: str | None
) -> None:
    with pytest.raises(ValueError, match=r"start: a StridedODENet is given, but the recipe fits a "):
        Fit(recipe(network=network, start=start), digits, CPU, 1, start=open_fitted(fitted_run, CPU)[0])


def test_a_fit_needs_the_start_of_its_recipe(digits: Dataset) -> None:
    with pytest.raises(ValueError, match="start: no network is given, but the recipe fits a MLP from runs/before"):
        Fit(without_ode("mlp", start="runs/before"), digits, CPU, seed=1)
