"""The load of `deploy/kubernetes/check.sh` consists of requests that the service answers."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.serving import ROOT, running
from tests.waiting import HANG

SCRIPT = Path(ROOT, "deploy/kubernetes/check.sh").read_text(encoding="utf-8")


@pytest.mark.system
def test_a_request_of_the_load_is_answered() -> None:
    (seven,) = re.findall(r"--env (\"SEVEN=.*\")", SCRIPT)
    (request,) = re.findall(r"while :; do (.*?); done", SCRIPT, re.DOTALL)
    with running() as service:
        commands = f"export {seven}; {request.replace('http://odenet', service.url)}"
        done = subprocess.run(
            ["bash", "-c", commands],  # noqa: S607
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=HANG,
            check=True,
        )
    assert done.stdout == "200\n"
