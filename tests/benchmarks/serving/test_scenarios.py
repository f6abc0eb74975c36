"""The scenarios, in very short measurements, and their servers."""

from pathlib import Path

import httpx
import pytest
import typer

from benchmarks.serving.__main__ import main
from benchmarks.serving.report import Findings, Goal, Measurement, Panel, goal_table, measurement_table, number
from benchmarks.serving.results import summarise
from benchmarks.serving.servers import Command, ServerError, contender, running
from tests.benchmarks.serving.test_results import result

pytestmark = pytest.mark.system


def test_a_scenario_prints_its_tables_and_draws_its_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(seconds=0.4, rounds=1, only=["saturated"], figure=tmp_path / "serving.svg")
    printed = capsys.readouterr().out
    for server in ("ours", "(b) torchdiffeq", "(c) onnxruntime", "(d) onnxruntime, batched"):
        assert f"| saturated | {server} | 32 connections | " in printed
    assert "| saturated | images/s relative to (b) torchdiffeq | ≥ 15 | " in printed
    drawn = (tmp_path / "serving.svg").read_text()
    assert Panel.throughput in drawn
    assert "kernels, one thread" in drawn


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(typer.BadParameter, match=r"no scenario is called nothing; there are one, saturated"):
        main(only=["nothing"])


def test_a_server_is_started_and_stopped_and_its_processor_time_is_counted() -> None:
    with running(contender("onnx_single", "contender", "--workers", "2")) as server:
        before = server.cpu_seconds()
        for _ in range(20):
            httpx.post(f"http://127.0.0.1:{server.port}/predict", content=bytes(784 * 50)).raise_for_status()
        assert server.cpu_seconds() > before > 0
    assert server.process.returncode is not None


def test_a_server_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(ServerError, match=r"broken does not start: error: .*--odd"),
        running(Command("broken", ("-c", "import sys; sys.exit('error: ' + ' '.join(sys.argv[1:]))", "--odd"))),
    ):
        pass


def test_tables_contain_the_findings() -> None:
    found = Findings()
    found.add(Findings([Measurement("one", "ours", "1 connection", summarise(result([0.001], [200])), "fine")]))
    assert measurement_table(found.measurements).splitlines()[2] == (
        "| one | ours | 1 connection | 10 | 1 | 1 | 1 | 0.00% | 0 | 4 | 0.00% of 1 | fine |"
    )
    found.goals = [
        Goal("one", "low", 2.0, 1.0, is_minimum=False),
        Goal("one", "high", 2.0, float("nan"), is_minimum=True),
    ]
    first, second = goal_table(found.goals).splitlines()[2:]
    assert first == "| one | low | ≤ 2 | 1 | 0.5 | met |  |"
    assert second == "| one | high | ≥ 2 | - | - | missed |  |"
    assert number(12345.6) == "12,346"
