"""Versions of models are added and removed under load. No request fails, and no answer mixes two versions."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from models.artifact import newest
from tests.artifacts import FAST, MLP, change, make, put, rewrite
from tests.digits import load_test_set
from tests.end_to_end.callers import EASY, PIXELS, Callers, calling
from tests.metrics import scrape
from tests.serving import FITTED, Running, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

Serve = Callable[..., AbstractContextManager[Running]]
Version = dict[str, Any]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    put(tmp_path, "digits", "1", MLP)
    return tmp_path


@pytest.fixture
def serving(models: Path) -> Serve:
    """The service with a folder of one model, which the service watches."""
    return partial(running, "--models", str(models), "--model", "digits", "--watch-seconds", "0.1")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_new_version_takes_over_and_no_request_fails(serving: Serve, models: Path, processes: str) -> None:
    """The two versions are different networks, so their answers differ."""
    with serving(ODENET_WORKERS=processes) as service, calling(service) as callers:
        callers.answered(EASY)  # each digit, from the old version
        put(models, "digits", "2", FAST)
        until(lambda: callers.versions() == {"2"})
        callers.answered(EASY)  # each digit again, from the new version
        callers.stop.set()
        callers.end()
        assert callers.lost == []
        assert_each_caller_saw_one_swap(callers)
        assert_versions_are_not_mixed(callers)
        until(lambda: count_in_log(service, "serving digits version 2") == int(processes))


def assert_each_caller_saw_one_swap(callers: Callers) -> None:
    for caller in callers.callers:
        versions = [answer["version"] for answer in caller.answers]
        swap = versions.index("2")
        assert versions == ["1"] * swap + ["2"] * (len(versions) - swap)
        assert swap > 0


def assert_versions_are_not_mixed(callers: Callers) -> None:
    """Each version gives one answer to an image, to every caller at any time."""
    expected: dict[tuple[str, int], list[float]] = {}
    for caller in callers.callers:
        for number, answer in enumerate(caller.answers):
            (prediction,) = answer["predictions"]
            assert (prediction["solver"] is None) == (answer["version"] == "1")
            key = answer["version"], number % EASY
            assert expected.setdefault(key, prediction["probabilities"]) == prediction["probabilities"]
    assert len(expected) == 2 * EASY


def test_requests_that_started_on_the_old_version_finish_on_it(serving: Serve, models: Path) -> None:
    with serving() as service, service.client() as client, ThreadPoolExecutor(1) as pool:
        for old in range(2, 22, 2):  # on a busy machine, the request may end before the new version is served
            put(models, "digits", str(old), FAST)
            until(partial(serves, client, old))
            long = pool.submit(ask, client, 32, method="heun2", tolerance="1e-6")
            until(lambda request=long: request.done() or metric(service, "rows_inflight"))  # type: ignore[misc]
            put(models, "digits", str(old + 1), MLP)
            until(partial(serves, client, old + 1))
            was_running = not long.done()
            answer = long.result()
            if was_running:
                break
    assert was_running, "no request was still running when the new version was served"
    assert (answer["model"], answer["version"], len(answer["predictions"])) == ("digits", str(old), 32)
    assert all(prediction["solver"]["nfe"] > 100 for prediction in answer["predictions"])


def serves(client: httpx.Client, version: int) -> bool:
    """Whether a version answers."""
    return bool(ask(client, 1)["version"] == str(version))


def ask(client: httpx.Client, rows: int, **query: str) -> Version:
    content = load_test_set()[0][:rows].tobytes()
    answer: Version = client.post("/predict", content=content, headers=PIXELS, params=query).raise_for_status().json()
    return answer


def metric(service: Running, name: str) -> float:
    """The sum of a metric over its labels."""
    with service.client() as client:
        return scrape(client).total(name)


def count_in_log(service: Running, text: str) -> int:
    """How often a text occurs in the log."""
    return "".join(service.log).count(text)


def flip(folder: Path) -> None:
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def half_a_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def without_numbers(folder: Path) -> None:
    """Damage a version: its weights are not finite, and the manifest has their checksum."""
    path = folder / "weights.safetensors"
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start:] = b"\xff" * (len(content) - start)
    rewrite("weights.safetensors", bytes(content))(folder)


def head_of_another(folder: Path) -> None:
    """Damage a version: its head does not fit its stem, and the manifest has the checksum."""
    other = newest(FITTED / "odenet-mnist-fast")
    assert other is not None
    for file in ("head.onnx", "weights.safetensors"):
        rewrite(file, (other / file).read_bytes())(folder)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a wrong checksum": (flip, "weights.safetensors: altered"),
    "a manifest that is not JSON": (half_a_manifest, "Invalid JSON"),
    "a manifest of another version": (partial(change, version="99"), "says digits version 99"),
    "a missing file": (lambda folder: (folder / "head.onnx").unlink(), "head.onnx: listed in manifest.json"),
    "a missing manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json: cannot be read"),
    "no graph": (rewrite("stem.onnx", b"no graph"), "stem.onnx: onnxruntime cannot load it"),
    "weights that are not finite": (without_numbers, "an answer is not a finite number"),
    "parts that do not fit": (head_of_another, "onnxruntime cannot load it"),
}


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_damaged_version_is_refused_and_the_old_version_stays(serving: Serve, models: Path, processes: str) -> None:
    with serving(ODENET_WORKERS=processes) as service, calling(service) as callers:
        for version, (spoil, reason) in enumerate(DAMAGE.values(), start=2):
            put(models, "digits", str(version), MLP, spoil)
            until(partial(refusal, service, str(version)))
            assert reason in refusal(service, str(version))
            assert str(models) not in refusal(service, str(version))
        callers.answered(2)
        assert callers.versions() == {"1"}
        for version in range(2, 2 + len(DAMAGE)):  # logged once, although the folder is read many times
            message = f"ERROR: digits version {version} cannot be loaded; version 1 is still served"
            assert count_in_log(service, message) == 1
        assert metric(service, "model_load_failures_total") == len(DAMAGE)
        greatest = str(1 + len(DAMAGE))
        shutil.rmtree(models / "digits" / greatest)
        put(models, "digits", greatest, MLP)
        until(lambda: callers.versions() == {greatest})  # the version is repaired
        assert callers.lost == []
        assert refusal(service, greatest) == ""


def refusal(service: Running, version: str) -> str:
    """The reason in the index of the Open Inference Protocol for refusing a version; empty if there is none."""
    entries = httpx.post(f"{service.url}/v2/repository/index", json={}, trust_env=False, timeout=HANG).json()
    reasons = {entry["version"]: str(entry["reason"]) for entry in entries}
    return reasons.get(version, "") if reasons.get(version, "").startswith("refused: ") else ""


def test_a_version_copied_in_parts_is_loaded_once_complete(serving: Serve, models: Path) -> None:
    with serving() as service, calling(service) as callers:
        source = make(models, "digits", "2", MLP)
        target = models / "digits" / "2"
        target.mkdir()
        for file in ("manifest.json", "head.onnx"):
            shutil.copy(source / file, target)
        until(lambda: refusal(service, "2"))  # the version has been incomplete for a while
        for path in source.iterdir():
            shutil.copy(path, target)
        until(lambda: callers.versions() == {"2"})
        assert callers.lost == []


def test_removing_the_served_version_brings_back_the_one_before(serving: Serve, models: Path) -> None:
    put(models, "digits", "2", MLP)
    with serving() as service, calling(service) as callers:
        assert callers.versions() == {"2"}
        shutil.rmtree(models / "digits" / "2")
        until(lambda: callers.versions() == {"1"})
        shutil.rmtree(models / "digits")  # no version is left
        put(models, "other", "1", MLP)
        with service.client() as client:
            until(lambda: [model["name"] for model in client.get("/models").json()] == ["digits", "other"])
        callers.answered()
        assert callers.versions() == {"1"}
        assert callers.lost == []


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_unloaded_model_stays_unloaded_until_a_caller_loads_it(serving: Serve, models: Path, processes: str) -> None:
    put(models, "other", "1", MLP)
    with serving("--model-control", ODENET_WORKERS=processes) as service, service.client() as client:
        control(client, "digits", "unload")
        put(models, "digits", "2", MLP)
        put(models, "other", "2", MLP)  # a sign that the service has read the folder again
        until(lambda: "version 2 is served" in str(client.post("/v2/repository/index", json={}).json()))
        served = {model["name"]: model["version"] for model in client.get("/models").json()}
        assert served == {"other": "2"}
        assert client.get("/health/ready").status_code == 503
        control(client, "digits", "load")
        assert {ask(client, 1)["version"] for _ in range(10)} == {"2"}
        put(models, "digits", "3", MLP)
        until(lambda: ask(client, 1)["version"] == "3")


def control(client: httpx.Client, model: str, what: str) -> None:
    client.post(f"/v2/repository/models/{model}/{what}", json={}).raise_for_status()


def test_the_folder_is_not_watched_when_the_settings_say_so(models: Path) -> None:
    flags = ("--models", str(models), "--model", "digits", "--watch-seconds", "0", "--model-control")
    with running(*flags) as service, service.client() as client:
        put(models, "digits", "2", MLP, flip)
        answer = client.post("/v2/repository/models/digits/load", json={})
        assert answer.status_code == 409
        assert "weights.safetensors: altered" in answer.json()["error"]
        assert ask(client, 1)["version"] == "1"
        assert "weights.safetensors: altered" in refusal(service, "2")
