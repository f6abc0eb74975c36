"""Loading and unloading by Triton's client, over a real socket. A change applies to all worker processes."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.artifacts import put
from tests.service.api.v2.infer_requests import DIGITS, error, tensor
from tests.serving import Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

CONNECTIONS = 16
"""Number of connections of a check. Each connection may reach another worker process."""

INFER = json.dumps({"inputs": [tensor(DIGITS[:1])[0]]})
PREDICT = json.dumps({"images": [DIGITS[0].tolist()]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder. Each test uses models of its own."""
    folder = tmp_path_factory.mktemp("models")
    for name in ("default", "spare", "old", "sound"):
        put(folder, name, "1")
    put(folder / "deeper", "hidden", "1")
    return folder


@pytest.fixture(scope="module")
def controlled(folder: Path) -> Iterator[Running]:
    """A service of two worker processes whose callers may load and unload models."""
    flags = ("--model-control", "--watch-seconds", "0", "--models", str(folder), "--model", "default")
    with running(*flags, ODENET_WORKERS="2") as service:
        yield service


@pytest.fixture(scope="module")
def server(controlled: Running) -> Iterator[Any]:
    with controlled.client() as client:
        assert client.get("/v2/health/ready").status_code == 200
    with triton.InferenceServerClient(controlled.url.removeprefix("http://")) as server:
        yield server


def answers(service: Running, method: str, path: str, body: str | None = None) -> list[tuple[int, Any]]:
    """The statuses and the contents of the answers over new connections."""
    received = []
    for _ in range(CONNECTIONS):
        connection = HTTPConnection(urlsplit(service.url).netloc, timeout=HANG)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        received.append((answer.status, json.loads(answer.read())))
        connection.close()
    return received


def statuses(service: Running, method: str, path: str, body: str | None = None) -> set[int]:
    return {status for status, _ in answers(service, method, path, body)}


def versions(service: Running, name: str) -> set[str]:
    """The versions of a model that answer over new connections."""
    return {content["model_version"] for _, content in answers(service, "POST", f"/v2/models/{name}/infer", INFER)}


def index(server: Any, name: str) -> dict[str, tuple[str, str]]:
    """The state and the reason of each version of a model."""
    entries = server.get_model_repository_index()
    return {entry["version"]: (entry["state"], entry["reason"]) for entry in entries if entry["name"] == name}


def test_unloading_and_loading_apply_to_every_process(controlled: Running, server: Any) -> None:
    for _ in range(2):
        server.unload_model("spare")
        assert statuses(controlled, "GET", "/v2/models/spare/ready") == {503}
        assert statuses(controlled, "GET", "/v2/models/spare") == {404}
        assert statuses(controlled, "GET", "/models/spare") == {404}
        assert statuses(controlled, "GET", "/v2/health/ready") == {200}
        assert statuses(controlled, "POST", "/predict?model=spare", PREDICT) == {404}
        assert index(server, "spare") == {"1": ("UNAVAILABLE", "not loaded")}
        server.load_model("spare")
        assert statuses(controlled, "GET", "/v2/models/spare/ready") == {200}
        assert versions(controlled, "spare") == {"1"}
        assert index(server, "spare") == {"1": ("READY", "")}


def test_loading_and_unloading_twice_have_no_further_effect(controlled: Running, server: Any) -> None:
    server.load_model("spare")
    server.load_model("spare")
    assert versions(controlled, "spare") == {"1"}
    server.unload_model("spare")
    server.unload_model("spare")
    assert statuses(controlled, "GET", "/v2/models/spare/ready") == {503}


def test_the_newest_export_is_served_without_a_restart(controlled: Running, server: Any, folder: Path) -> None:
    put(folder, "old", "2")
    put(folder, "fresh", "1")
    assert index(server, "old") == {"1": ("READY", ""), "2": ("UNAVAILABLE", "version 1 is served")}
    assert index(server, "fresh") == {"1": ("UNAVAILABLE", "not loaded")}
    assert not server.is_model_ready("old", "2")
    server.load_model("old")
    server.load_model("fresh")
    assert versions(controlled, "old") == {"2"}
    assert versions(controlled, "fresh") == {"1"}
    assert index(server, "old") == {"1": ("UNAVAILABLE", "version 2 is served"), "2": ("READY", "")}
    assert statuses(controlled, "GET", "/v2/models/old/versions/1/ready") == {503}
    assert statuses(controlled, "POST", "/v2/models/old/versions/1/infer", INFER) == {404}


def test_after_a_damaged_version_is_refused_the_previous_version_is_still_served(
    controlled: Running, server: Any, folder: Path
) -> None:
    damaged = put(folder, "sound", "2")
    (damaged / "head.onnx").write_bytes(b"no graph")
    with pytest.raises(InferenceServerException) as caught:
        server.load_model("sound")
    assert caught.value.status() == "409"
    assert "model: cannot be loaded: sound/2/head.onnx: " in caught.value.message()
    assert str(folder) not in caught.value.message()
    assert versions(controlled, "sound") == {"1"}


def test_the_service_is_not_ready_while_the_default_model_is_unloaded(controlled: Running, server: Any) -> None:
    server.unload_model("default")
    assert server.is_server_live()
    assert answers(controlled, "GET", "/v2/health/ready") == [(503, {"ready": False})] * CONNECTIONS
    assert statuses(controlled, "GET", "/health/ready") == {503}
    assert statuses(controlled, "POST", "/predict", PREDICT) == {404}
    assert statuses(controlled, "POST", "/predict?model=sound", PREDICT) == {200}
    server.load_model("default")
    assert answers(controlled, "GET", "/v2/health/ready") == [(200, {"ready": True})] * CONNECTIONS


@pytest.mark.parametrize("name", ["lenet", "..", ".", "deeper", "deeper/hidden", "x" * 5_000, "\0", ""])
def test_a_model_that_is_not_in_the_folder_is_refused(server: Any, name: str) -> None:
    for call in (server.load_model, server.unload_model):
        with pytest.raises(InferenceServerException) as caught:
            call(name)
        assert caught.value.status() == "404"


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        (
            "load",
            {"parameters": {"config": "{}"}},
            "parameters.config: Extra inputs are not permitted; the parameters are none",
        ),
        ("load", {"parameters": {"file:1/model.onnx": ""}}, "parameters.file:1/model.onnx: Extra inputs"),
        ("unload", {"parameters": {"unload_dependents": 1}}, "parameters.unload_dependents: Input should be a valid"),
        ("unload", {"parameters": {"config": 1}}, "not permitted; the parameters are unload_dependents; it is 1"),
        ("load", [], "body: must be an object"),
    ],
)
def test_an_unknown_parameter_is_refused(client: httpx.Client, path: str, document: Any, text: str) -> None:
    answer = client.post(f"/v2/repository/models/mlp/{path}", content=json.dumps(document))
    assert answer.status_code == 422
    assert text in error(answer)


def test_without_model_control_nothing_is_loaded_or_unloaded(client: httpx.Client) -> None:
    for path in ("load", "unload"):
        for name in ("mlp", "lenet"):
            answer = client.post(f"/v2/repository/models/{name}/{path}")
            assert answer.status_code == 403
            assert "the setting model_control allows it" in error(answer)


def test_the_index_may_list_only_the_served_models(controlled: Running, server: Any) -> None:
    server.unload_model("spare")
    with controlled.client() as client:
        served = client.post("/v2/repository/index", content=b'{"ready": true}').json()
        everything = client.post("/v2/repository/index").json()
    assert {entry["state"] for entry in served} == {"READY"}
    assert "spare" in {entry["name"] for entry in everything} - {entry["name"] for entry in served}
