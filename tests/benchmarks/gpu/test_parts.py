"""The parts of the check of a GPU, on the CPU and with the smallest counts. `make gpu-rehearsal` runs all of them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu import loads
from benchmarks.gpu.__main__ import run_apart
from benchmarks.gpu.check import Check, Scale
from benchmarks.gpu.part import run
from benchmarks.gpu.report import Report

TINY = Scale(
    networks=("mlp",),
    images=16,
    rows=(1, 4),
    runs=1,
    seconds=0.2,
    connections=(2,),
    images_of_body=4,
    workers=(1,),
    requests=1,
    swaps=1,
    fit_rows=64,
)
CHECK = Check("cpu", TINY)


def ended(name: str) -> Report:
    """The report of a part, which must have ended."""
    report = run(name, CHECK)
    assert report.error == ""
    return report


def test_each_network_is_compared_with_onnxruntime() -> None:
    report = ended("networks")
    ((row,),) = report.tables.values()
    assert (row["network"], row["other digits"]) == ("mlp", 0)
    assert all(claim.holds for claim in report.claims)


def test_the_kernels_are_timed_by_rows() -> None:
    ((one, four),) = ended("kernels").tables.values()
    assert (one["rows"], four["rows"]) == (1, 4)
    assert isinstance(one["images per second"], float)


def test_answers_are_compared_in_other_arrangements() -> None:
    (rows,) = ended("invariance").tables.values()
    again = [row for row in rows if row["arrangement"] == "the same batch again"]
    assert [row["equal bits"] for row in again] == [1.0, 1.0]
    assert all(row["other digits"] == 0 for row in rows)


def test_each_solver_is_timed_and_a_missing_one_is_reported() -> None:
    report = ended("solvers")
    (rows,) = report.tables.values()
    evaluations = {row["solver"]: row["NFE"] for row in rows if row["rows"] == 4}
    assert evaluations["in flight, as served"] == evaluations["solve loop"]
    assert "torchdiffeq" in evaluations
    assert ("torchode" in evaluations) != any(claim.text.startswith("torchode") for claim in report.claims)


@pytest.mark.system
def test_an_epoch_is_fitted_by_each_recipe() -> None:
    (rows,) = ended("fitting").tables.values()
    assert [row["recipe"] for row in rows] == ["quick", "odenet-mnist"]


@pytest.mark.system
def test_the_service_is_measured_under_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "WARM_UP", 0.0)
    report = ended("loads")
    once, again = report.tables["closed loops, bodies of 4 images"]
    assert (once["solve"], again["solve"]) == ("once", "again if in doubt")
    assert (once["NFE"], once["failed"]) == (4.0, "")
    assert len(report.claims) == 3


def test_a_part_that_fails_keeps_what_it_has_found(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    run("networks", replace(CHECK, scale=replace(TINY, networks=("mlp", "unknown"))), path)
    report = Report.read(path)
    assert "FileNotFoundError" in report.error
    ((row,),) = report.tables.values()
    assert row["network"] == "mlp"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this torch has CUDA")
def test_without_a_gpu_the_report_says_so() -> None:
    assert "torch sees no CUDA device" in run("kernels", replace(CHECK, device="cuda")).error


def test_a_part_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        report = run_apart("kernels", "cpu", "small", 0.05, log)
    assert report.error.startswith("stopped after 0 s")
