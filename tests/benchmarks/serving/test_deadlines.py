"""The benchmark of deadlines: its contenders, its lines and its figure."""

import platform
from pathlib import Path

import numpy as np
import pytest
import typer

from benchmarks.serving.bench import Bench
from benchmarks.serving.bursts import bursts
from benchmarks.serving.deadlines import (
    BUSIEST,
    DEADLINES,
    FIXED,
    LOADS,
    Row,
    arrivals,
    busiest,
    contenders,
    draw,
    main,
    measure,
    most_in_time,
    rows,
    table,
)
from benchmarks.serving.peers import table as peers
from tests.benchmarks.serving.test_results import result

OTHERS = {
    "ours, by deadline",
    *(f"ours, {query}" for query in FIXED),
    "(c) onnxruntime, tolerance=0.1",
    "(d) onnxruntime, batched, tolerance=0.1",
}
ARRIVALS, SECONDS = bursts(rate=100, seconds=0.5, seed=3), 0.5


def test_a_request_is_in_time_if_it_is_answered_within_the_deadline_by_the_callers_clock() -> None:
    found = rows("one", result([0.009, 0.011, 0.001, 0.030], [200, 200, 503, 200]), [10, 20, 50])
    assert [(row.deadline, row.attainment) for row in found] == [(10, 0.25), (20, 0.5), (50, 0.75)]
    assert {row.accuracy for row in found} == {1.0}


def test_accuracy_counts_only_what_was_in_time() -> None:
    (row,) = rows("one", result([0.001, 0.002, 0.5], [200, 200, 200], digit=3), [100])
    assert row.attainment == pytest.approx(2 / 3)
    assert (row.accuracy, row.both) == (0, 0)


@pytest.mark.parametrize(
    ("deadline", "share"), [(0.005, 0), (0.01, 2 / 5), (0.02, 3 / 5), (0.04, 1)], ids=lambda value: f"{value:.3g}"
)
def test_a_perfect_server_refuses_only_what_it_could_not_answer_in_time(deadline: float, share: float) -> None:
    arrivals = np.array([0, 0, 0.001, 0.001, 0.02])
    assert most_in_time(arrivals, 100, deadline) == pytest.approx(share)


def test_the_busiest_half_second_counts_only_answers() -> None:
    assert busiest(result([0.01] * 5 + [0.05] * 3, [200, 200, 503, 200, 200, 200, 503, 503])) == 4 / 0.5
    assert busiest(result([0.01], [503])) == 0


def test_the_table_has_a_line_for_each_contender_and_the_figure_a_panel_for_each_load(tmp_path: Path) -> None:
    measured = [Row(name, deadline, 0.5, 0.9) for name in ("one", "two") for deadline in DEADLINES]
    lines = table(measured).splitlines()
    assert lines[2:] == [f"| {name} |{' 50.00%, 90.00%, 45.00% |' * len(DEADLINES)}" for name in ("one", "two")]
    draw({0.5: measured, 0.9: measured}, tmp_path / "figure.svg")
    drawn = (tmp_path / "figure.svg").read_text()
    assert all(f"mean load {load}%" in drawn for load in (50, 90))


def test_bursts_are_measured_at_each_load() -> None:
    planned = arrivals(100, 20, LOADS, None)
    assert tuple(planned) == LOADS
    for load, (times, seconds) in planned.items():
        assert seconds == 20
        assert len(times) == pytest.approx(load * 100 * 20, rel=0.1)


def test_a_recording_is_measured_once_at_its_own_load(tmp_path: Path) -> None:
    (tmp_path / "arrivals").write_text("\n".join(str(5 + number / 4) for number in range(41)))
    ((load, (times, seconds)),) = arrivals(100, 20, LOADS, tmp_path / "arrivals").items()
    assert load == pytest.approx(0.041)  # 41 requests in 10 s
    assert (times[0], times[-1], len(times), seconds) == (0, 10, 41, 10)


def test_a_load_together_with_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(typer.BadParameter, match="a recording has its own load"):
        main(load=[0.5], replay=tmp_path / "arrivals")


@pytest.mark.system
def test_where_triton_cannot_be_installed_a_line_says_so_and_the_others_are_measured(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no-folder").touch()
    monkeypatch.setattr(peers, "ENVIRONMENTS", tmp_path / "no-folder")
    with contenders(bench) as servers:
        found, rate = measure(bench, servers, ARRIVALS, SECONDS)
    assert capsys.readouterr().out.startswith("not measured: Triton cannot be installed: ")
    assert {row.contender for row in found} == OTHERS
    assert 0 < rate <= len(ARRIVALS) / BUSIEST


@pytest.mark.system
@pytest.mark.nightly
@pytest.mark.skipif(platform.machine() != "x86_64", reason="Triton's package is for x86-64 only")
def test_triton_is_measured_at_each_deadline(bench: Bench) -> None:
    with contenders(bench) as servers:
        found, _ = measure(bench, servers, ARRIVALS, SECONDS)
    (tritons,) = {row.contender for row in found} - OTHERS
    assert tritons == "Triton, by timeout, tolerance=0.1"
    assert [row.deadline for row in found if row.contender == tritons] == list(DEADLINES)
