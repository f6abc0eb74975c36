"""The files that ship give the expected answers over HTTP."""

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

from models.artifact import newest, read
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.profile import SUFFICIENT_AGREEMENT
from tests.digits import encoded, load_test_set, seven
from tests.serving import DEFAULT_MODEL, EVERY_MODEL, FITTED, ROOT, SHIPPED, TWO_MODELS, folder_of, running

pytestmark = pytest.mark.system

WITH_ODE = ("odenet", "odenet-mnist", "odenet-mnist-fast", "rknet")


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(models=EVERY_MODEL) as service, service.client() as client:
        yield client


def predictions(client: httpx.Client, images: npt.NDArray[np.uint8], **query: str) -> list[dict[str, Any]]:
    headers = {"content-type": "application/octet-stream"}
    answer = client.post("/predict", params=query, content=images.tobytes(), headers=headers)
    listed = answer.raise_for_status().json()["predictions"]
    assert len(listed) == len(images)
    return list(listed)


def answers_over_http(client: httpx.Client, name: str, rows: int, **query: str) -> list[dict[str, Any]]:
    """The predictions of a model for the first images of the test set."""
    images = load_test_set()[0]
    batches = (images[start : start + 250] for start in range(0, rows, 250))
    return [prediction for batch in batches for prediction in predictions(client, batch, model=name, **query)]


def digits_over_http(client: httpx.Client, name: str, rows: int) -> list[int]:
    """The digits that a model finds by its default solver in the first images of the test set."""
    once = {"escalate": "false"} if name in WITH_ODE else {}
    return [prediction["digit"] for prediction in answers_over_http(client, name, rows, **once)]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == DEFAULT_MODEL else [pytest.mark.nightly]) for name in EVERY_MODEL]
)
def test_all_test_digits_over_http_give_the_error_of_the_card(client: httpx.Client, name: str) -> None:
    answers, labels = digits_over_http(client, name, 10_000), load_test_set()[1]
    errors = int((np.array(answers) != labels).sum())
    details = client.get(f"/models/{name}").json()
    (stated,) = [measured for measured in details["manifest"]["metrics"] if measured["split"] == "test"]
    assert (errors, len(answers)) == (stated["errors"], stated["rows"])
    assert f"| test | {errors / 10_000:.2%} | {errors} |" in details["card"]


@pytest.mark.parametrize("name", EVERY_MODEL)
def test_a_thousand_digits_over_http_equal_the_digits_of_the_graphs(client: httpx.Client, name: str) -> None:
    """The export measured the error on the card with these graphs and this solver."""
    folder = newest(FITTED / name)
    assert folder is not None
    manifest = read(folder).manifest
    answer = classify(OnnxBackend(folder, manifest.methods), load_test_set()[0][:1000], manifest.default_solver)
    assert digits_over_http(client, name, 1000) == answer.digits.tolist()


@pytest.mark.parametrize("name", WITH_ODE)
def test_digits_over_http_are_solved_again_where_the_margin_is_small(client: httpx.Client, name: str) -> None:
    """The rungs of the ladder alone, by the graphs, give the same digits at the same cost."""
    folder = newest(FITTED / name)
    assert folder is not None
    artifact = read(folder)
    assert artifact.profile is not None
    ladder = artifact.profile.ladder_for(SUFFICIENT_AGREEMENT)
    assert ladder is not None
    loose, tight = ladder.rungs
    backend, images = OnnxBackend(folder, artifact.manifest.methods), load_test_set()[0][:500]
    expected = classify(backend, images, loose.solver)
    again = expected.margins < (loose.threshold or 0)
    assert again.any(), "this test needs a digit that is solved again"
    second = classify(backend, images[again], tight.solver)
    expected.logits[again] = second.logits
    expected.nfe[again] += second.nfe
    answers = answers_over_http(client, name, len(images))
    assert [answer["digit"] for answer in answers] == expected.digits.tolist()
    assert [answer["solver"]["nfe"] for answer in answers] == expected.nfe.tolist()
    assert [answer["solver"]["escalated"] for answer in answers] == again.tolist()
    assert [answer["margin"] for answer in answers] == pytest.approx(expected.margins.tolist(), rel=1e-6)


@pytest.mark.nightly
def test_all_test_digits_over_http_agree_with_a_tight_solve_as_often_as_the_bound_says(client: httpx.Client) -> None:
    artifact = read(SHIPPED)
    assert artifact.profile is not None
    ladder = artifact.profile.ladder_for(SUFFICIENT_AGREEMENT)
    assert ladder is not None
    images = load_test_set()[0]
    tight = classify(OnnxBackend(SHIPPED, artifact.manifest.methods), images, artifact.profile.reference)
    digits = [answer["digit"] for answer in answers_over_http(client, DEFAULT_MODEL, len(images))]
    assert (np.array(digits) == tight.digits).mean() >= ladder.bound


def test_every_system_of_the_table_is_served(client: httpx.Client) -> None:
    served = {model["name"] for model in client.get("/models").json()}
    assert served == {"mlp", "resnet", "rknet", "odenet", "odenet-mnist", "odenet-mnist-fast"}


def test_torch_answers_as_onnxruntime_does(client: httpx.Client) -> None:
    images = load_test_set()[0][:50]
    with running("--backend", "torch", models=TWO_MODELS) as by_torch, by_torch.client() as other:
        for query in ({"method": "dopri5", "tolerance": "1e-3"}, {"method": "rk4", "steps": "2"}):
            answers = predictions(client, images, **query), predictions(other, images, **query)
            for expected, actual in zip(*answers, strict=True):
                assert actual["digit"] == expected["digit"]
                assert actual["solver"]["nfe"] == expected["solver"]["nfe"]
                assert actual["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-4)


def test_the_service_needs_no_torch() -> None:
    """A process in which torch cannot be imported serves a digit."""
    with folder_of(TWO_MODELS) as models:
        program = f"""
import sys
sys.modules["torch"] = None  # an import now raises ImportError
from fastapi.testclient import TestClient
from service.app import create_app
from service.settings import Settings
with TestClient(create_app(Settings(models="{models}"))) as client:
    answer = client.post(
        "/predict", content=bytes.fromhex("{encoded(seven()).hex()}"), headers={{"content-type": "image/png"}}
    )
print(answer.json()["predictions"][0]["digit"])
"""
        result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "7"


def test_the_whole_solve_graph_answers_as_the_service_does(client: httpx.Client) -> None:
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
