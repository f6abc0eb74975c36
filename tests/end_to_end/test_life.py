"""How the service starts and ends."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from models.artifact import sha256
from tests.serving import SHIPPED, running, start

CASES = {
    "a port that is none": (["--port", "70000"], "port"),
    "a backend that is none": (["--backend", "tensorflow"], "backend"),
    "a default model that is missing": (["--model", "lenet"], "lenet"),
    "a models folder that is empty": (["--models", "/nonexistent"], "odenet-mnist"),
    "a device that is not there": (["--device", "cuda"], "cuda"),
}


def test_sigterm_ends_it_in_good_order() -> None:
    with running() as service, service.client() as client:
        assert client.get("/health/ready").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=20) in {0, -signal.SIGTERM}
    assert "Finished server process" in "".join(service.log)


def test_settings_come_from_the_environment_and_flags_override_them() -> None:
    headers = {"content-type": "application/octet-stream"}
    with running("--max-images", "2", ODENET_MAX_IMAGES="1", ODENET_MAX_BODY_BYTES="3000") as service:
        assert httpx.post(f"{service.url}/predict", content=bytes(2 * 784), headers=headers).status_code == 200
        for rows, limit in ((3, "at most 2"), (4, "at most 3,000 bytes")):
            answer = httpx.post(f"{service.url}/predict", content=bytes(rows * 784), headers=headers)
            assert answer.status_code == 413
            assert limit in answer.json()["detail"]


@pytest.mark.parametrize(("flags", "named"), CASES.values(), ids=CASES.keys())
def test_what_keeps_it_from_starting_is_said(flags: list[str], named: str) -> None:
    ended_badly(start(*flags), named)


def ended_badly(process: subprocess.Popen[str], named: str) -> None:
    try:
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode not in {0, None}
    assert named in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize("file", ["weights.safetensors", "step-bosh3.onnx", "profile.json", "README.md"])
def test_an_altered_artifact_is_refused(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "odenet-mnist" / SHIPPED.name
    shutil.copytree(SHIPPED, folder)
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    ended_badly(start("--models", str(tmp_path)), file)


def test_the_greatest_version_is_served(tmp_path: Path) -> None:
    for version in ("2", "10"):
        folder = tmp_path / "odenet-mnist" / version
        shutil.copytree(SHIPPED, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
        assert sha256(folder / "weights.safetensors") == manifest["files"]["weights.safetensors"]
    with running("--models", str(tmp_path)) as service, service.client() as client:
        assert [model["version"] for model in client.get("/models").json()] == ["10"]
