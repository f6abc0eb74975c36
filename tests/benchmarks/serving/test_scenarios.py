"""The scenarios, in very short measurements, and their servers."""

from pathlib import Path

import pytest
import typer

from benchmarks.serving.__main__ import main
from benchmarks.serving.report import (
    Findings,
    Goal,
    Measurement,
    Panel,
    ProcessorTime,
    goal_table,
    measurement_table,
    number,
    processor_table,
)
from benchmarks.serving.results import summarise
from benchmarks.serving.threads import Role
from tests.benchmarks.serving.test_results import result

pytestmark = pytest.mark.system


def test_a_scenario_prints_its_tables_and_draws_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(seconds=0.2, rounds=1, only=["saturated"], figure=tmp_path / "serving.svg")
    printed = capsys.readouterr().out
    servers = ("ours", "(b) torchdiffeq", "(c) onnxruntime", "(d) onnxruntime, batched", "(f) bare ASGI function")
    for server in servers:
        assert f"| saturated | {server} | 32 connections | " in printed
    assert printed.count("| saturated | (e) plain FastAPI route | 32 connections | ") == 2  # in two tables
    assert "| saturated | images/s relative to (c) onnxruntime, 32 connections, JSON | ≥ 2.5 | " in printed
    for connections in (16, 32):
        claim = f"processor time without the kernels, relative to a plain FastAPI route, {connections} connections"
        assert f"| saturated | {claim} | ≤ 1.5 | " in printed
    drawn = (tmp_path / "serving.svg").read_text()
    assert Panel.throughput in drawn
    assert "kernels, " in drawn


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=r"no scenario is called nothing; there are one, saturated"):
        main(only=["nothing"])


def test_tables_contain_the_findings() -> None:
    found = Findings()
    found.add(Findings([Measurement("one", "ours", "1 connection", summarise(result([0.001], [200])), "fine", 250.0)]))
    assert measurement_table(found.measurements).splitlines()[2] == (
        "| one | ours | 1 connection | 10 | 1 | 1 | 1 | 250 | 0.00% | 0 | 4 | 0.00% of 1 | fine |"
    )
    by_role = {Role.loop: 100.0, Role.engine: 140.0, Role.other: 10.0}
    times = processor_table([ProcessorTime("one", "ours", "1 connection", by_role, kernels=130.0, floor=60.0)])
    assert times.splitlines()[2] == "| one | ours | 1 connection | 100 | 140 | 10 | 250 | 130 | 120 | 2 |"
    found.goals = [
        Goal("one", "low", 2.0, 1.0, is_minimum=False),
        Goal("one", "high", 2.0, float("nan"), is_minimum=True),
    ]
    first, second = goal_table(found.goals).splitlines()[2:]
    assert first == "| one | low | ≤ 2 | 1 | 0.5 | met |  |"
    assert second == "| one | high | ≥ 2 | - | - | missed |  |"
    assert number(12345.6) == "12,346"
