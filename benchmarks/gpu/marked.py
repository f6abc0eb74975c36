"""Part: the tests with the mark `gpu`. On a CPU they are only collected.

The tests run without conftest.py and without the options of pyproject.toml. So they need only pytest and what the
service needs.
"""

import subprocess
import sys

from benchmarks.gpu.check import Check
from benchmarks.gpu.report import Report
from benchmarks.serving.servers import ROOT

MARK = "pytest.mark.gpu"


def marked(check: Check, report: Report) -> None:
    """Run every test with the mark `gpu`."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in path.read_text(encoding="utf-8")]
    options = ("--noconftest", "--override-ini", "addopts=", "--import-mode", "importlib", "-p", "no:cacheprovider")
    mode = ("-rA", "--tb=short", "-m", "gpu") if check.device == "cuda" else ("--collect-only", "-m", "gpu")
    arguments = [sys.executable, "-m", "pytest", *options, *mode, *map(str, files)]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    print(done.stdout, done.stderr)  # noqa: T201 (the log of the part)
    for line in done.stdout.splitlines():
        outcome, _, test = line.partition(" ")
        if outcome in {"PASSED", "FAILED", "ERROR", "SKIPPED"}:
            report.row("tests", outcome=outcome, test=test)
    last = (done.stdout.strip() or done.stderr.strip() or "no output").splitlines()[-1]
    report.claim(
        "the tests with the mark gpu pass", "exit status 0", f"{done.returncode}: {last}", holds=done.returncode == 0
    )
