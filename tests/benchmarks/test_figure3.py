"""Figure 3: the measurements and findings of its panels, and what it leaves out."""

import json
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from benchmarks import figure3
from benchmarks.figure3 import Point
from models.artifact import METRICS, Artifact
from models.networks.mlp import MLP
from models.networks.odenet import ODENet
from models.solvers.settings import SolverSettings
from tests.clock import Clock
from training.data import Dataset, Split

COARSE = SolverSettings.adaptive("bosh3", 1e-1)


@pytest.fixture
def digits(few_digits: Dataset) -> Split:
    return Split(*(column[:4] for column in few_digits.validation))


def point(nfe: float, backward_nfe: int | None) -> Point:
    return Point(1e-2, nfe, error=nfe**-3, seconds=2e-3 * nfe, forward_nfe=nfe, backward_nfe=backward_nfe)


def test_tighter_tolerances_have_smaller_errors_and_higher_costs(
    network: ODENet, digits: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure3, "TOLERANCES", (1e-1, 1e-3))
    clock = Clock()
    network.dynamics.register_forward_hook(lambda *_: clock.advance(1))  # an evaluation of f takes one second
    monkeypatch.setattr(figure3, "time", clock)
    loose, tight = figure3.measure(network, "bosh3", digits)
    assert tight.error < loose.error / 10
    assert tight.nfe == tight.forward_nfe > loose.nfe
    assert tight.seconds > loose.seconds > 0
    assert tight.backward_nfe is not None
    assert loose.backward_nfe is not None
    assert tight.backward_nfe > loose.backward_nfe


def test_backward_evaluations_belong_to_whole_steps(network: ODENet, digits: Split) -> None:
    observed = figure3.backward_nfe(network, COARSE, digits)
    assert observed is not None
    assert observed >= 4
    assert observed % 3 == 1, "one evaluation at the start, then three per step"


def test_a_diverging_adjoint_gives_no_number_of_evaluations(network: ODENet, digits: Split) -> None:
    torch.nn.init.constant_(network.dynamics.norm1.weight, torch.inf)
    assert figure3.backward_nfe(network, COARSE, digits) is None


def test_findings_are_computed_from_the_points(tmp_path: Path) -> None:
    points = [point(10, 10), point(20, 40), point(30, 90), point(40, None)]
    found = {name: here for name, _, here in figure3.findings(points, [40.0, 30.0, 20.0])}
    assert list(found.values()) == ["-3.00", "1.000", "2.00 (1.00 to 3.00)", "1 of 4", "0.50"]


@pytest.mark.parametrize("backward", [5, None])
def test_missing_measurements_are_not_drawn(backward: int | None, tmp_path: Path) -> None:
    points = [point(nfe, backward) for nfe in (7.0, 13.0)]
    figure3.draw(points, [], tmp_path / "three.svg")
    figure3.draw(points, [20.0, 30.0], tmp_path / "four.svg")
    assert "d. NFE in training" not in (tmp_path / "three.svg").read_text()
    assert "d. NFE in training" in (tmp_path / "four.svg").read_text()
    assert len(list(figure3.findings(points, []))) == (4 if backward else 3)


def test_the_nfe_of_each_epoch_comes_from_the_metrics(tmp_path: Path) -> None:
    assert figure3.training_nfe(tmp_path) == []
    lines = [json.dumps({"epoch": epoch, "validation_nfe": 20.5 + epoch}) for epoch in (1, 2)]
    (tmp_path / METRICS).write_text("\n".join(lines) + "\n")
    assert figure3.training_nfe(tmp_path) == [21.5, 22.5]


def test_the_newest_version_of_an_artifact_is_opened(mlp_artifact: Artifact) -> None:
    network, folder = figure3.open_network(mlp_artifact.folder.parent)
    assert folder == mlp_artifact.folder
    assert isinstance(network, MLP)


def usage_error(*arguments: str) -> str:
    app = Typer()
    app.command()(figure3.main)
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "300"})
    assert result.exit_code == 2
    return result.output


def test_errors_say_what_is_wrong(mlp_artifact: Artifact) -> None:
    assert "rk4 is not one of heun2" in usage_error("--method", "rk4")
    assert "nowhere" in usage_error("nowhere")
    assert "its network solves no ODE" in usage_error(str(mlp_artifact.folder))
