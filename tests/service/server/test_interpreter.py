"""A service whose workers cannot start ends with the reason. Otherwise it would start them again and again."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import ROOT
from tests.waiting import HANG

pytestmark = pytest.mark.system

START = """
import runpy, sys
sys.executable, sys.argv = sys.argv[1], ["service", "--workers", "2", "--port", "0", "--model", "mlp"]
{more}
runpy.run_module("service", run_name="__main__")
"""
BROKEN_WORKER = """
from service.server import worker
worker.forks.set_forkserver_preload([])
worker.subprocess_started = exit
"""
ONE_PROCESS = """
from multiprocessing import forkserver
read, started = forkserver.read_signed, []
def read_once(descriptor):
    if started:
        raise EOFError
    started.append(read(descriptor))
    return started[0]
forkserver.read_signed = read_once
"""
"""The first worker starts. Then nothing comes from the fork server, as if it had ended because it could not fork."""


def start(interpreter: str, more: str = "") -> subprocess.CompletedProcess[str]:
    """Start the service in two processes of an interpreter, and wait for its end."""
    words = [sys.executable, "-c", START.format(more=more), interpreter]
    return subprocess.run(words, cwd=ROOT, env={}, capture_output=True, text=True, timeout=HANG, check=False)


@pytest.mark.parametrize("exists", [False, True])
def test_a_missing_interpreter_or_one_that_cannot_run_is_reported(tmp_path: Path, exists: bool) -> None:
    interpreter = tmp_path / "python"
    if exists:
        interpreter.write_text("not a program")
    done = start(str(interpreter))
    assert done.returncode == 3
    assert f"error: the Python interpreter '{interpreter}' is missing, or this user may not" in done.stderr
    assert "Worker process" not in done.stderr


def test_the_service_ends_if_its_first_workers_end_by_themselves() -> None:
    done = start(sys.executable, BROKEN_WORKER)
    assert done.returncode == 3
    assert "failed to start: it ended with status 1" in done.stderr
    assert "another is started" not in done.stderr


def test_the_service_ends_if_its_second_worker_cannot_be_started() -> None:
    done = start(sys.executable, ONE_PROCESS)
    assert done.returncode == 3
    assert "A worker process cannot be started: the process that forks the workers has ended" in done.stderr
    assert "Traceback" not in done.stderr
