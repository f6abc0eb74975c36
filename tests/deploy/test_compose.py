"""The command of the training container, with a program in place of Python that only notes how it is called."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from training.recipe import RECIPES, read_recipe

ROOT = Path(__file__).parents[2]
TRAINING = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]["training"]


class Call(NamedTuple):
    """A call of the program: its process, and its arguments after `python -m training`."""

    process: int
    arguments: list[str]


@pytest.fixture
def container(tmp_path: Path) -> tuple[int, list[Call]]:
    """Run the command as Compose does. Returns the process of the command, and its calls."""
    calls, program = tmp_path / "calls", tmp_path / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho $$ "$@" >> {calls}\n')
    program.chmod(0o755)
    script = TRAINING["command"][0].replace("$$", "$").replace("/runs/", f"{tmp_path}/")
    path = f"{program.parent}:{os.environ['PATH']}"
    with subprocess.Popen([*TRAINING["entrypoint"], script], env={"PATH": path}) as process:
        assert process.wait() == 0
    lines = [line.split() for line in calls.read_text().splitlines()]
    return process.pid, [Call(int(number), arguments) for number, _, _, *arguments in lines]


def test_the_second_fit_starts_from_the_first_and_is_exported(container: tuple[int, list[Call]]) -> None:
    _, (first, second, export) = container
    assert read_recipe(RECIPES / f"{second.arguments[1]}.toml").start == f"runs/{first.arguments[1]}"
    assert export.arguments[:2] == ["export", f"runs/{second.arguments[1]}"]


def test_the_export_takes_the_place_of_the_shell_that_init_signals(container: tuple[int, list[Call]]) -> None:
    process, calls = container
    assert TRAINING.get("init"), "the first process of a container ignores SIGTERM, if it has no handler"
    assert calls[-1].process == process, "init sends SIGTERM to this process only"
