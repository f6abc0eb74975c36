"""Runs the command ``predict`` in tests, and any command whose reader has gone."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import httpx
import pytest

from service.cli import predict as command
from tests import serving
from tests.serving import ROOT, Running

SEVEN = ROOT / "docs" / "digits" / "seven.png"
NOWHERE = "http://127.0.0.1:1"
"""An address at which nothing listens: port 1 belongs to tcpmux, which machines do not run."""


def run(
    arguments: Iterable[str | Path],
    environment: dict[str, str],
    standard_input: bytes = b"",
    python: Iterable[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run the command with arguments, an environment, a standard input, and flags for Python.

    A command that asks a service runs in this process, because a process of its own costs half a second.
    """
    words, flags = [*map(str, arguments)], [*python]
    if "--url" in words and not flags:
        return run_here(words, environment, standard_input)
    return serving.command(["predict", *words], environment, standard_input, flags)


def run_here(
    arguments: list[str], environment: dict[str, str], standard_input: bytes
) -> subprocess.CompletedProcess[str]:
    """Run the command in this process."""
    output, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        for name in list(os.environ):
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(ROOT)
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(standard_input)))
        try:
            status = command.main(arguments)
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(arguments, status, output.getvalue(), errors.getvalue())


def predict(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return run(arguments, environment)


def port(service: Running) -> str:
    return str(httpx.URL(service.url).port)


def run_with_closed_output(*words: str) -> tuple[int, bytes]:
    """Run ``python -m service`` with words while nobody reads its output: the exit status, and what it reports."""
    with subprocess.Popen(
        [sys.executable, "-m", "service", *words],
        cwd=ROOT,
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
    return process.returncode, errors
