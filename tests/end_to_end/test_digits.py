"""From the files that ship to answers over HTTP."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from tests.digits import encoded, load_test_set, seven
from tests.serving import FITTED, ROOT, SHIPPED, running


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running() as service, service.client() as client:
        yield client


def predictions(client: httpx.Client, images: npt.NDArray[np.uint8], **query: str) -> list[dict[str, Any]]:
    headers = {"content-type": "application/octet-stream"}
    answer = client.post("/predict", params=query, content=images.tobytes(), headers=headers)
    listed = answer.raise_for_status().json()["predictions"]
    assert len(listed) == len(images)
    return list(listed)


@pytest.mark.parametrize("name", [path.name for path in sorted(FITTED.glob("*/"))])
def test_all_test_digits_over_http_give_the_error_that_the_card_states(client: httpx.Client, name: str) -> None:
    images, labels = load_test_set()
    batches = (images[start : start + 250] for start in range(0, 10_000, 250))
    answers = [prediction["digit"] for batch in batches for prediction in predictions(client, batch, model=name)]
    errors = int((np.array(answers) != labels).sum())
    details = client.get(f"/models/{name}").json()
    (stated,) = [measured for measured in details["manifest"]["metrics"] if measured["split"] == "test"]
    assert (errors, len(answers)) == (stated["errors"], stated["rows"])
    assert f"| test | {errors / 10_000:.2%} | {errors} |" in details["card"]


def test_every_system_of_the_table_is_served(client: httpx.Client) -> None:
    served = {model["name"] for model in client.get("/models").json()}
    assert served == {"mlp", "resnet", "rknet", "odenet", "odenet-mnist", "odenet-mnist-fast"}


def test_torch_answers_as_onnxruntime_does(client: httpx.Client) -> None:
    images = load_test_set()[0][:50]
    with running("--backend", "torch") as by_torch, by_torch.client() as other:
        for query in ({"method": "dopri5", "tolerance": "1e-3"}, {"method": "rk4", "steps": "2"}):
            answers = predictions(client, images, **query), predictions(other, images, **query)
            for expected, actual in zip(*answers, strict=True):
                assert actual["digit"] == expected["digit"]
                assert actual["solver"]["nfe"] == expected["solver"]["nfe"]
                assert actual["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


def test_the_service_needs_no_torch() -> None:
    """A process in which torch cannot be imported serves a digit."""
    program = f"""
import sys
sys.modules["torch"] = None  # to import it now is an ImportError
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings
with TestClient(create_app(Settings())) as client:
    answer = client.post(
        "/predict", content=bytes.fromhex("{encoded(seven()).hex()}"), headers={{"content-type": "image/png"}}
    )
print(answer.json()["predictions"][0]["digit"])
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "7"


def test_the_portable_graph_answers_as_the_service_does(client: httpx.Client) -> None:
    images = load_test_set()[0][:20]
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    tolerances = np.geomspace(1e-5, 1, len(images)).astype(np.float32)
    session = ort.InferenceSession(SHIPPED / "solve.onnx", providers=["CPUExecutionProvider"])
    logits, nfe = session.run(["logits", "nfe"], {"image": images, "rtol": tolerances, "atol": tolerances})
    for row, image in enumerate(images):
        body = {
            "images": [image.tolist()],
            "method": manifest["default_solver"]["method"],
            "tolerance": float(tolerances[row]),
        }
        (prediction,) = client.post("/predict", json=body).json()["predictions"]
        assert prediction["digit"] == logits[row].argmax()
        assert prediction["solver"]["nfe"] == nfe[row]
