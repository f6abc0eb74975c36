"""The wheel: the command `odenet` with the models that ship, and packages that do not clash with those of others."""

import json
import os
import site
import subprocess
import sys
import venv
from pathlib import Path

import httpx
import pytest

from service import VERSION
from tests.service.cli.command_line import SEVEN
from tests.service.server.test_preload import FREEZE_COUNT
from tests.serving import ROOT, folder_of
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
CLASSIFY = """
import models, service  # the packages of another program
from odenet.models import artifact
from odenet.models.backends.onnx import OnnxBackend

read = artifact.read(artifact.newest(artifact.FITTED / "odenet-mnist"))
print(models.__file__, service.__file__, read.manifest.name, OnnxBackend.__module__)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a fresh virtual environment with the wheel. The libraries are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, timeout=HANG)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    install = [*PIP, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, timeout=HANG)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()))
    return python.parent


def run(program: Path, *words: str, folder: Path) -> str:
    """The output of a program in a folder without the repository."""
    environment = {"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *words], cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=HANG
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_knows_its_version_and_its_name(installed: Path, tmp_path: Path) -> None:
    assert run(installed / "odenet", "--version", folder=tmp_path) == f"odenet {VERSION}\n"
    assert "usage: odenet predict" in run(installed / "odenet", "predict", "--help", folder=tmp_path)
    assert "\nodenet()" not in run(installed / "odenet", "completion", folder=tmp_path)


def test_the_command_predicts_with_a_model_that_ships(installed: Path, tmp_path: Path) -> None:
    answer = json.loads(run(installed / "odenet", "predict", str(SEVEN), "--json", folder=tmp_path))
    assert answer["model"] == "odenet-mnist"
    assert [prediction["digit"] for prediction in answer["predictions"]] == [7]


def test_the_command_serves_from_several_processes(installed: Path, tmp_path: Path) -> None:
    words = ["serve", "--port", "0", "--workers", "2", "--model", "mlp", "--grace-seconds", "0"]
    with (
        folder_of(["mlp"]) as models,
        subprocess.Popen(
            [installed / "odenet", *words, "--models", models],
            cwd=tmp_path,
            env={"OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        ) as service,
    ):
        assert service.stderr is not None
        try:
            url = next(line.split(" running on ")[1].split()[0] for line in service.stderr if " running on " in line)
            until(lambda: is_ready(url))
            png = {"content-type": "image/png"}
            answer = httpx.post(
                f"{url}/predict", content=SEVEN.read_bytes(), headers=png, timeout=HANG, trust_env=False
            )
        finally:
            service.terminate()
            log = service.stderr.read()
    assert service.returncode == 0, log
    assert answer.json()["predictions"][0]["digit"] == 7


def is_ready(url: str) -> bool:
    """Whether a worker process has started to serve."""
    try:
        return httpx.get(f"{url}/health/ready", timeout=HANG, trust_env=False).is_success
    except httpx.ConnectError:
        return False


def test_the_workers_of_the_installed_service_share_the_application(installed: Path, tmp_path: Path) -> None:
    program = FREEZE_COUNT.format(service="odenet.service")
    assert int(run(installed / "python", "-c", program, folder=tmp_path)) > 10_000


def test_packages_of_the_same_names_do_not_clash(installed: Path, tmp_path: Path) -> None:
    for name in ("models", "service"):
        (tmp_path / f"{name}.py").touch()
    printed = run(installed / "python", "-c", CLASSIFY, folder=tmp_path).split()
    ours = ["odenet-mnist", "odenet.models.backends.onnx"]
    assert printed == [str(tmp_path / "models.py"), str(tmp_path / "service.py"), *ours]
