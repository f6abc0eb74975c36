"""The server and its models in the form of the protocol, over a real socket."""

from typing import Any

import httpx
import pytest

from models.artifact import read
from tests.service.api.v2.infer_requests import DIGITS, INFER, infer
from tests.serving import FITTED, SHIPPED

PATHS = ["/v2/models/odenet-mnist", f"/v2/models/odenet-mnist/versions/{SHIPPED.name}"]


def get(client: httpx.Client, path: str) -> dict[str, Any]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert isinstance(content, dict)
    return content


def test_the_server_lists_its_extensions(client: httpx.Client) -> None:
    server = get(client, "/v2")
    assert set(server) == {"name", "version", "extensions"}
    assert {"binary_tensor_data", "classification", "model_repository", "statistics"} <= set(server["extensions"])


def test_health_routes_answer(client: httpx.Client) -> None:
    assert get(client, "/v2/health/live") == {"live": True}
    assert get(client, "/v2/health/ready") == {"ready": True}


@pytest.mark.parametrize("path", PATHS)
def test_a_model_is_ready(client: httpx.Client, path: str) -> None:
    assert get(client, f"{path}/ready") == {"name": "odenet-mnist", "ready": True}


@pytest.mark.parametrize("path", PATHS)
def test_metadata_list_the_inputs_and_outputs(client: httpx.Client, path: str) -> None:
    metadata = get(client, path)
    assert metadata["platform"] == "onnxruntime_onnx"
    assert {output["name"]: (output["datatype"], output["shape"]) for output in metadata["outputs"]} == {
        "probabilities": ("FP32", [-1, 10]),
        "digit": ("INT64", [-1]),
        "margin": ("FP32", [-1]),
        "nfe": ("INT64", [-1]),
        "error_estimate": ("FP32", [-1]),
        "method": ("BYTES", [-1]),
        "rtol": ("FP64", [-1]),
        "atol": ("FP64", [-1]),
        "steps": ("INT64", [-1]),
        "rejected": ("INT64", [-1]),
        "outcome": ("BYTES", [-1]),
        "escalated": ("BOOL", [-1]),
        "degraded": ("BOOL", [-1]),
    }


@pytest.mark.parametrize("path", PATHS)
def test_a_configuration_has_the_default_solver(client: httpx.Client, path: str) -> None:
    configuration, default = get(client, f"{path}/config"), read(SHIPPED).manifest.default_solver
    assert default is not None
    expected = {name: {"string_value": str(value)} for name, value in default.model_dump(exclude_none=True).items()}
    assert configuration["parameters"] == expected
    assert configuration["version_policy"] == {"specific": {"versions": [int(SHIPPED.name)]}}
    assert {"name": "method", "data_type": "TYPE_STRING", "dims": []} in configuration["output"]
    assert get(client, "/v2/models/mlp/config")["parameters"] == {}


@pytest.mark.parametrize("path", PATHS)
def test_statistics_count_images_and_requests(client: httpx.Client, path: str) -> None:
    def counts() -> dict[str, Any]:
        (model,) = get(client, f"{path}/stats")["model_stats"]
        assert (model["name"], model["version"]) == ("odenet-mnist", SHIPPED.name)
        assert isinstance(model, dict)
        return model

    before = counts()
    for rows in (1, 3):
        assert infer(client, DIGITS[:rows]).status_code == 200
    client.post(INFER, content=b"{}")  # its answer comes only after the requests before it have been counted
    after = counts()
    assert after["inference_count"] - before["inference_count"] == 4
    assert after["execution_count"] > before["execution_count"]
    assert after["last_inference"] > before["last_inference"]
    for name in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        earlier, later = before["inference_stats"][name], after["inference_stats"][name]
        assert later["count"] - earlier["count"] == 2
        assert later["ns"] > earlier["ns"]


def test_statistics_list_all_models(client: httpx.Client) -> None:
    models = get(client, "/v2/models/stats")["model_stats"]
    assert [model["name"] for model in models] == sorted(path.name for path in FITTED.glob("*/"))
