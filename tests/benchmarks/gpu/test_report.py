"""The report of a part: it survives the end of its process, and it can be read by people and programs."""

import json
from pathlib import Path

import pytest

from benchmarks.gpu.report import Report, write


@pytest.fixture
def report(tmp_path: Path) -> Report:
    report = Report("speed", tmp_path / "report.json")
    report.fact("device", "cpu")
    report.row("by rows", rows=1, images_per_second=1234.5)
    report.row("by rows", rows=64, images_per_second=None, failed="429: 3")
    report.claim("images per second", "1,000", "1,234", holds=True)
    return report


def test_a_report_is_saved_after_each_finding(report: Report) -> None:
    assert report.path is not None
    assert Report.read(report.path) == report
    report.claim("p99", "5 ms", "7 ms", holds=False)
    assert [claim.holds for claim in Report.read(report.path).claims] == [True, False]


def test_a_report_as_text_has_a_column_for_each_heading(report: Report) -> None:
    lines = report.markdown().splitlines()
    assert "- device: cpu" in lines
    assert "| rows | images per second | failed |" in lines
    assert "| 1 | 1,234 |  |" in lines
    assert "| 64 |  | 429: 3 |" in lines
    assert "| images per second | 1,000 | 1,234 | yes |" in lines


def test_a_report_as_text_says_why_its_part_did_not_end(report: Report) -> None:
    assert "did not end" not in report.markdown()
    report.error = "RuntimeError: out of memory"
    assert "RuntimeError: out of memory" in report.markdown()


def test_the_reports_of_all_parts_are_written_as_json_and_text(report: Report, tmp_path: Path) -> None:
    write(tmp_path, [report, Report("memory", error="stopped after 60 s")])
    first, second = json.loads((tmp_path / "gpu.json").read_text())
    assert first["tables"]["by rows"][0] == {"rows": 1, "images per second": 1234.5}
    assert second["error"] == "stopped after 60 s"
    text = (tmp_path / "gpu.md").read_text()
    assert text.index("## speed") < text.index("## memory")
