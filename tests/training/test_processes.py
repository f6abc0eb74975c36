"""Several processes: they fit as one process does, and only one of them prints and writes."""

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.artifact import METRICS
from tests.training.fits import CPU, penalised, recipe
from tests.waiting import HANG
from training import processes
from training.data import load
from training.fit import Fit
from training.recipe import Recipe
from training.run import CHECKPOINT, CONFIG, load_config, load_network

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]

TOML = """\
network = "{network}"
epochs = {epochs}
batch_size = {batch_size}
learning_rate = {learning_rate}
weight_decay = {weight_decay}
label_smoothing = {label_smoothing}
average_decay = {average_decay}
precision = "{precision}"

[solver]
{solver_lines}

[validation]
method = "heun2"
tolerance = 10

[augmentation]
rotation = 10
scale = 0.1
shear = 0.1
shift = 1
elastic = 0.5
control_points = 4
{outlier_lines}"""


def two_processes(settings: Recipe, data: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Fit with a recipe in two processes."""
    path = folder.with_suffix(".toml")
    assert settings.solver is not None
    fields = settings.solver.model_dump(mode="json", exclude_none=True)
    solver_lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items())
    outlier_lines = (
        f"\n[outliers]\nrows = {settings.outliers.rows}\nweight = {settings.outliers.weight}\n"
        if settings.outliers
        else ""
    )
    path.write_text(TOML.format(**settings.model_dump(), solver_lines=solver_lines, outlier_lines=outlier_lines))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    fit = [
        "-m",
        "--",
        "training",
        "fit",
        "--recipe",
        path,
        "--run",
        folder,
        "--data",
        data,
        "--seed",
        "5",
        "--device",
        "cpu",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"}
    return subprocess.run(
        [*launcher, *map(str, fit)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG,
    )


WAYS: dict[str, dict[str, Any]] = {
    "through the solver, with outliers": {
        "solver": penalised(0.01, 1, 2),
        "outliers": {"rows": 4, "weight": 0.5},
    },
    "by the adjoint": {"solver": {"gradient": "adjoint", "method": "midpoint", "steps": 1}},
}


def cheap(batch_size: int, **changes: Any) -> Recipe:
    return recipe(
        network="odenet-strided",
        epochs=1,
        batch_size=batch_size,
        validation={"method": "heun2", "tolerance": 10},
        **changes,
    )


def weights(network: nn.Module) -> Tensor:
    """All parameters of a network as one vector."""
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def test_a_single_process_has_rank_0_of_1() -> None:
    with processes.joined(CPU):
        assert (processes.count(), processes.rank()) == (1, 0)
        assert processes.add_up(torch.tensor([1.0, 2.0])).tolist() == [1, 2]


@pytest.mark.parametrize(
    "way", ["through the solver, with outliers", pytest.param("by the adjoint", marks=pytest.mark.nightly)]
)
def test_two_processes_fit_as_one_process_does(data: Path, tmp_path: Path, way: str) -> None:
    """Each process takes half the rows of every batch, so results differ only by rounding. Only one process reports."""
    settings, folder = cheap(batch_size=8, **WAYS[way]), tmp_path / "two"
    done = two_processes(settings, data, folder)
    assert done.returncode == 0, done.stderr
    assert [line.split("  ")[0] for line in done.stdout.splitlines() if line.startswith("epoch")] == ["epoch 1/1"]
    assert len((folder / METRICS).read_text().splitlines()) == 1
    assert {CHECKPOINT, CONFIG, METRICS} <= {path.name for path in folder.iterdir()}
    assert len(list(folder.glob("events.*"))) == 1
    assert load_config(folder).recipe == settings

    alone = Fit(settings, load(data), CPU, seed=5)
    before = weights(alone.average.module)
    list(alone.train_epoch())
    expected, after = weights(alone.average.module), weights(load_network(folder, CPU)[0])
    assert (expected - before).norm() > 0.1, "this test needs a fit that changes the weights"
    assert (after - expected).norm() < 1e-3 * (expected - before).norm()


@pytest.mark.nightly
def test_a_batch_that_does_not_divide_is_refused_before_anything_is_written(data: Path, tmp_path: Path) -> None:
    done = two_processes(cheap(7, solver=penalised(0.01, 1)), data, tmp_path / "odd")
    assert done.returncode != 0
    assert "error: batch_size: 7 rows do not divide evenly among 2 processes" in done.stderr.splitlines()
    assert not (tmp_path / "odd").exists()


@pytest.mark.parametrize(("rows", "among", "divides"), [(8, 2, True), (7, 1, True), (7, 2, False), (8, 3, False)])
def test_rows_divide_evenly_or_are_refused(rows: int, among: int, divides: bool) -> None:
    with nullcontext() if divides else pytest.raises(ValueError, match=rf"outliers.rows: {rows} rows .* {among} "):
        processes.check_divisible("outliers.rows", rows, among)
