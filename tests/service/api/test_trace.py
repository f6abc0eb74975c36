"""The field `trace` of `POST /predict`: the image that the network saw, and the steps of its solve."""

import math
from typing import Any

import httpx
import numpy as np
import pytest

from service.api.predict import PredictAnswer
from service.engine.plan import MOST_TRACED
from tests.digits import encoded, load_test_set, seven
from tests.serving import TWO_MODELS, running

pytestmark = pytest.mark.system

DIGITS = load_test_set()[0]
PIXELS = {"content-type": "application/octet-stream"}
SETTINGS: dict[str, dict[str, Any]] = {
    "default": {},
    "bosh3": {"method": "bosh3", "tolerance": 1e-4},
    "dopri5": {"method": "dopri5", "rtol": 1e-5, "atol": 1e-4},
    "rk4": {"method": "rk4", "steps": 3},
}


def predict(client: httpx.Client, digits: int = 1, **fields: Any) -> Any:
    answer = client.post("/predict", json={"images": DIGITS[:digits].tolist(), **fields})
    assert answer.status_code == 200, answer.text
    PredictAnswer.model_validate_json(answer.content, strict=True)
    return answer.json()["predictions"]


@pytest.fixture(scope="module", params=["onnxruntime", "torch"])
def traced(request: pytest.FixtureRequest) -> Any:
    with running("--backend", request.param, models=TWO_MODELS) as service, service.client() as client:
        yield client


@pytest.mark.parametrize("fields", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("digits", [1, MOST_TRACED])
def test_predictions_with_and_without_a_trace_are_bitwise_equal(
    traced: httpx.Client, fields: dict[str, Any], digits: int
) -> None:
    plain = predict(traced, digits, **fields)
    for prediction, expected in zip(predict(traced, digits, trace=True, **fields), plain, strict=True):
        assert set(prediction) - set(expected) == {"image", "trace", "looser_traces"}
        assert {name: prediction[name] for name in expected} == expected


@pytest.mark.parametrize("fields", SETTINGS.values(), ids=SETTINGS.keys())
def test_a_trace_has_every_attempt_and_the_logits_along_the_depth(client: httpx.Client, fields: dict[str, Any]) -> None:
    temperature = client.get("/models/odenet-mnist").json()["manifest"]["temperature"]
    for prediction in predict(client, 5, trace=True, **fields):
        solver, attempts, depth = prediction["solver"], prediction["trace"]["attempts"], prediction["trace"]["depth"]
        assert len(attempts) == solver["steps"]
        assert sum(not attempt["accepted"] for attempt in attempts) == solver["rejected"]
        assert len(depth) == 1 + solver["steps"] - solver["rejected"]
        assert (depth[0]["t"], depth[-1]["t"], attempts[0]["t"]) == (0, 1, 0)
        exponentials = np.exp(np.array(depth[-1]["logits"]) / temperature)
        assert prediction["probabilities"] == pytest.approx(exponentials / exponentials.sum(), abs=1e-6)
        errors = [attempt["error"] for attempt in attempts if attempt["accepted"]]
        if fields.get("steps"):
            assert errors == [None] * solver["steps"]
        else:
            assert math.fsum(errors) == pytest.approx(solver["error_estimate"], rel=1e-5)


def test_the_query_may_request_a_trace(client: httpx.Client) -> None:
    answer = client.post("/predict?trace=true&tolerance=0.01", content=seven().tobytes(), headers=PIXELS)
    (prediction,) = answer.json()["predictions"]
    assert prediction["image"] == seven().tolist()
    assert len(prediction["trace"]["attempts"]) == prediction["solver"]["steps"]


def test_the_image_of_a_trace_is_the_picture_in_mnists_form(client: httpx.Client) -> None:
    page = np.full((400, 300), 230, np.uint8)
    page[50:330, 10:290] -= np.kron(seven(), np.ones((10, 10), np.uint8)) // 2
    headers = {"content-type": "image/png"}
    (prediction,) = client.post("/predict?trace=true", content=encoded(page), headers=headers).json()["predictions"]
    image = np.array(prediction["image"], np.uint8)
    assert image.shape == (28, 28)
    assert np.corrcoef(image.ravel(), seven().ravel())[0, 1] > 0.9
    seen = client.post("/predict", content=image.tobytes(), headers=PIXELS).json()["predictions"]
    assert seen[0]["probabilities"] == prediction["probabilities"]


def test_a_model_without_an_ode_returns_the_image_and_no_trace(client: httpx.Client) -> None:
    (prediction,) = predict(client, trace=True, model="mlp")
    assert prediction["image"] == DIGITS[0].tolist()
    assert (prediction["trace"], prediction["looser_traces"], prediction["solver"]) == (None, [], None)


def test_a_trace_has_all_attempts_of_a_long_solve(client: httpx.Client) -> None:
    (prediction,) = predict(client, trace=True, method="heun2", tolerance=1e-6)
    assert len(prediction["trace"]["attempts"]) == prediction["solver"]["steps"] > 200


@pytest.mark.parametrize("query", ["", "?trace=true"])
def test_a_trace_of_too_many_images_is_refused_with_field_limit_and_value(client: httpx.Client, query: str) -> None:
    body: dict[str, Any] = {"images": DIGITS[: MOST_TRACED + 1].tolist()}
    answer = client.post(f"/predict{query}", json=body if query else body | {"trace": True})
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert (wrong["field"], wrong["value"]) == ("trace", f"{MOST_TRACED + 1} images")
    assert f"at most {MOST_TRACED}" in wrong["message"]


@pytest.mark.parametrize("value", ["perhaps", "2", ""])
def test_a_value_that_is_not_a_boolean_is_refused(client: httpx.Client, value: str) -> None:
    answer = client.post(f"/predict?trace={value}", content=seven().tobytes(), headers=PIXELS)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "trace"


def test_an_answer_has_no_trace_unless_it_is_requested(client: httpx.Client) -> None:
    for fields in ({}, {"trace": False}, {"trace": None}):
        (prediction,) = predict(client, **fields)
        assert set(prediction) == {"digit", "probabilities", "margin", "solver"}
    schema = client.get("/openapi.json").json()["components"]["schemas"]
    assert {"trace", "image"}.isdisjoint(schema["Prediction"]["required"])
    assert not schema["PredictBody"]["properties"]["trace"].get("default")
