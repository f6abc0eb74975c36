"""Commands that cannot run in a test name targets, profiles, settings, flags and packages that exist."""

import io
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib.util import find_spec
from itertools import dropwhile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from handbook.http_api import openapi
from service.environment import PREFIX
from service.settings import Settings
from tests.handbook.blocks import PAGES, ROOT, blocks, commands, name
from training.cli import app

Words = list[str]

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
PACKAGES = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
TRAINING = {command.callback.__name__ for command in app.registered_commands if command.callback is not None}

INDENTED = re.compile(r"^ {4}(python -m .*|make .*)$", re.MULTILINE)
"""A command next to a figure in docs/measurements.md."""


def not_run() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        excused = [block.text for block in blocks(page) if block.excuse is not None]
        for text in (*excused, *INDENTED.findall(page.read_text(encoding="utf-8"))):
            yield from ((page, command) for command in commands(text))


@cache
def help_text(*command: str) -> str:
    """The help text of ``python -m command --help``, run in this process, where torch is imported already."""
    _, module, *words = command
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # runpy warns if another test has imported the module
        patch.setattr(sys, "argv", [module, *words, "--help"])
        with pytest.raises(SystemExit, match=r"^(0|None)$"):
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    return output.getvalue()


def check_make(words: Words) -> None:
    for word in (word for word in words if word.startswith("ARGS=")):
        for flag in re.findall(r"--([a-z-]+)", word):
            assert flag.replace("-", "_") in Settings.model_fields
    subprocess.run(["make", "--dry-run", "--always-make", words[0]], cwd=ROOT, capture_output=True, check=True)  # noqa: S607


def check_module(words: Words) -> None:
    module, *arguments = words
    assert find_spec(f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module), (
        f"there is no module {module}"
    )
    command = arguments[:1] if module == "training" else []
    assert set(command) <= TRAINING, f"training has no command {command}"
    for flag in (word.partition("=")[0] for word in arguments if word.startswith("--")):
        assert re.search(rf"{flag}\b", help_text("-m", module, *command)), f"{module} has no flag {flag}"


def check_compose(words: Words) -> None:
    profiles = {words[at + 1] for at, word in enumerate(words) if word == "--profile"}
    scaled = [words[at + 1] for at, word in enumerate(words) if word == "--scale"]
    assert {word.partition("=")[0] for word in scaled} <= set(COMPOSE["services"])
    words = [word for word in words if word != "--scale" and word not in scaled]
    assert profiles <= {profile for service in COMPOSE["services"].values() for profile in service.get("profiles", [])}
    command, *services = [word for word in words if word != "--profile" and word not in profiles]
    assert command in {"up", "restart"}
    assert set(services) <= set(COMPOSE["services"]) | profiles


def check_build(words: Words) -> None:
    target = words[words.index("--target") + 1]
    assert re.search(rf"^FROM \S+ AS {target}$", DOCKERFILE, re.MULTILINE)


def check_run(words: Words) -> None:
    for variable in (words[at + 1] for at, word in enumerate(words) if word == "-e"):
        setting = variable.partition("=")[0].removeprefix(PREFIX).lower()
        assert setting in Settings.model_fields
    for published in (words[at + 1] for at, word in enumerate(words) if word == "-p"):
        assert re.search(rf"^EXPOSE {published.rpartition(':')[2]}$", DOCKERFILE, re.MULTILINE)


def check_curl(words: Words) -> None:
    """Check that a route has the path."""
    path = urlsplit(next(word for word in words if word.startswith("http"))).path
    routes = [re.sub(r"\{\w+\}", "[^/]+", route) for route in openapi()["paths"]]
    assert any(re.fullmatch(route, path) for route in routes)


def check_kill(words: Words) -> None:
    assert f"SIG{words[0].removeprefix('-')}" in signal.Signals.__members__


def check_install(words: Words) -> None:
    for word in words:
        if word == "constraints.txt":
            assert (ROOT / word).is_file()
        elif extras := re.fullmatch(r"\.\[([a-z,]+)\]", word):
            assert set(extras[1].split(",")) <= set(EXTRAS)
        elif not word.startswith("-") and word != ".":
            assert word.partition("[")[0].lower() in PACKAGES


def check_haproxy(words: Words) -> None:
    """Check that the shipped files exist."""
    for file in (word for word in words if word.startswith("deploy/")):
        assert (ROOT / file).is_file()


def check_serve(words: Words) -> None:
    """Check that the application or the file of Ray Serve exists."""
    command, *arguments = words
    assert command in {"run", "deploy", "status", "shutdown"}
    for target in (word for word in arguments if not word.startswith("--")):
        module = ROOT / target.partition(":")[0].replace(".", "/")
        assert (ROOT / target).is_file() or module.with_suffix(".py").is_file()


def check_ray(words: Words) -> None:
    """Check the command only, because Ray is not in this environment."""
    assert words[0] in {"start", "stop", "get-auth-token"}


def check_push(words: Words) -> None:
    """Check that the tag of the image is the one in the manifests."""
    base = yaml.safe_load((ROOT / "deploy/kubernetes/base/kustomization.yaml").read_text(encoding="utf-8"))
    assert words[0].rpartition(":")[2] == base["images"][0]["newTag"]


def check_kubectl(words: Words) -> None:
    """Check that the folder with the manifests exists. The names of files that the reader makes may be any."""
    for folder in (word for word in words if word.startswith("deploy/")):
        assert (ROOT / folder / "kustomization.yaml").is_file()


def check_odenet(words: Words) -> None:
    """Check that the command and its flags exist."""
    command, *arguments = words
    help_ = help_text("-m", "service", command)
    for flag in (word for word in arguments if word.startswith("--")):
        assert re.search(rf"{flag}\b", help_)


CHECKS: dict[tuple[str, ...], Callable[[Words], None]] = {
    ("make",): check_make,
    ("docker", "compose"): check_compose,
    ("docker", "build"): check_build,
    ("docker", "push"): check_push,
    ("docker", "run"): check_run,
    ("curl",): check_curl,
    ("kill",): check_kill,
    ("haproxy",): check_haproxy,
    ("serve",): check_serve,
    ("ray",): check_ray,
    ("kubectl",): check_kubectl,
    ("deploy/kubernetes/check.sh",): check_kubectl,
    ("pip", "install"): check_install,
    ("odenet",): check_odenet,
    (".venv/serve/bin/pip", "install"): check_install,
    ("python", "-m"): check_module,
    (".venv/dev/bin/python", "-m"): check_module,
}


@pytest.mark.parametrize(
    ("page", "command"), [pytest.param(page, command, id=f"{name(page)}: {command}") for page, command in not_run()]
)
def test_a_command_that_is_not_run_names_only_what_exists(page: Path, command: str) -> None:
    words = list(dropwhile(re.compile(r"[A-Z_]+=").match, shlex.split(command)))
    begins = next((begin for begin in CHECKS if tuple(words[: len(begin)]) == begin), None)
    assert begins is not None, f"{command}: there is no check for this command"
    CHECKS[begins](words[len(begins) :])
