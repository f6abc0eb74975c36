"""How the service starts and ends."""

import json
import shutil
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from models.artifact import newest, sha256
from tests.artifacts import MLP, put, rewrite
from tests.digits import load_test_set
from tests.serving import FITTED, SHIPPED, TWO_MODELS, command, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

PIXELS = "application/octet-stream"
ROWS = 100
"""Images in a request. It is more than a batch ever holds, so some of them wait in the queue at first."""

CASES = {
    "an invalid port": (["--port", "70000"], "port"),
    "an unknown backend": (["--backend", "tensorflow"], "backend"),
    "a missing default model": (["--model", "lenet"], "lenet"),
    "an empty models folder": (["--models", "/nonexistent"], "odenet-mnist"),
    "a missing device": (["--device", "cuda"], "cuda"),
}


def test_sigterm_stops_the_service_cleanly() -> None:
    with running() as service, service.client() as client:
        assert client.get("/health/ready").status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=HANG) == 0
    assert "Finished server process" in "".join(service.log)


def test_sigterm_lets_running_requests_finish() -> None:
    answer = stopped_while_solving("--shutdown-seconds", str(HANG), tolerance="1e-3")
    assert answer.status_code == 200
    assert len(answer.json()["predictions"]) == ROWS


def test_sigterm_ends_requests_that_outlast_the_shutdown_time() -> None:
    answer = stopped_while_solving("--shutdown-seconds", "0", tolerance="1e-6")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert "is stopping" in answer.json()["detail"]


def stopped_while_solving(*flags: str, tolerance: str) -> httpx.Response:
    """The answer to a long request that is running when SIGTERM arrives."""
    content = load_test_set()[0][:ROWS].tobytes()

    def ask(**more: str) -> httpx.Response:
        query = {"method": "heun2", "tolerance": tolerance, **more}
        return client.post("/predict", content=content, headers={"content-type": PIXELS}, params=query)

    with (
        running("--queue-seconds", "0.001", *flags, models=TWO_MODELS) as service,
        service.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        answer = pool.submit(ask)
        while ask(deadline_ms="1").status_code != 429:  # until the queue is full of the first request
            if answer.done():  # the queue was full of the other request, or this request has already been solved
                answer = pool.submit(ask)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=HANG) == 0
        return answer.result()


def test_two_workers_serve_the_same_models_and_stop_cleanly() -> None:
    with running(ODENET_WORKERS="2") as service:
        served = []
        with ThreadPoolExecutor(4) as pool:
            for answer in pool.map(lambda _: ask_once(service.url), range(20)):
                assert answer.status_code == 200
                served.append(answer.json()["predictions"])
        assert served == [served[0]] * 20
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(timeout=HANG) == 0
    assert "".join(service.log).count("Finished server process") == 2


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_address_in_use_is_refused(workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended_badly("--port", port, "--workers", workers, named="ddress already in use")


def ask_once(url: str) -> httpx.Response:
    """Send a request over a new connection, which any worker may accept."""
    content = load_test_set()[0][:2].tobytes()
    return httpx.post(
        f"{url}/predict", content=content, headers={"content-type": PIXELS}, trust_env=False, timeout=HANG
    )


def test_flags_override_settings_from_the_environment() -> None:
    headers, digits = {"content-type": PIXELS}, load_test_set()[0][:2]
    with running("--max-images", "2", ODENET_MAX_IMAGES="1", ODENET_MAX_BODY_BYTES="3000") as service:
        answer = httpx.post(f"{service.url}/predict", content=digits.tobytes(), headers=headers, timeout=HANG)
        assert answer.status_code == 200
        for rows, limit in ((3, "at most 2"), (4, "at most 3,000 bytes")):
            answer = httpx.post(f"{service.url}/predict", content=bytes(rows * 784), headers=headers, timeout=HANG)
            assert answer.status_code == 413
            assert limit in answer.json()["detail"]


def test_workers_that_fail_to_start_make_the_service_fail(tmp_path: Path) -> None:
    """The graphs of the default model load in the supervisor, but their answers are not finite."""
    source = newest(FITTED / "mlp")
    assert source is not None
    weights = (source / "weights.safetensors").read_bytes()
    nonsense = weights[:-4096] + np.full(1024, np.nan, np.float32).tobytes()
    put(tmp_path, "mlp", "1", MLP, rewrite("weights.safetensors", nonsense))
    flags = ["--models", str(tmp_path), "--model", "mlp", "--workers", "2", "--port", "0"]
    ended_badly(*flags, named="is not a finite number")


@pytest.mark.parametrize(("flags", "named"), CASES.values(), ids=CASES.keys())
def test_a_failed_start_names_the_cause(flags: list[str], named: str) -> None:
    ended_badly(*flags, named=named)


def ended_badly(*flags: str, named: str) -> None:
    """Start the service with flags. It ends with an error that names the cause."""
    done = command(flags, {})
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("file", ["weights.safetensors", "step-bosh3.onnx", "profile.json", "README.md"])
def test_an_altered_artifact_is_refused(tmp_path: Path, file: str) -> None:
    folder = tmp_path / "odenet-mnist" / SHIPPED.name
    shutil.copytree(SHIPPED, folder)
    path = folder / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    ended_badly("--models", str(tmp_path), named=file)


def test_the_highest_version_is_served(tmp_path: Path) -> None:
    for version in ("2", "10"):
        folder = tmp_path / "odenet-mnist" / version
        shutil.copytree(SHIPPED, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
        assert sha256(folder / "weights.safetensors") == manifest["files"]["weights.safetensors"]
    with running("--models", str(tmp_path)) as service, service.client() as client:
        assert [model["version"] for model in client.get("/models").json()] == ["10"]
