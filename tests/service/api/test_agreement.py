"""The fields `agreement` and `escalate`, over a real socket, and what an answer says about an escalated image."""

from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from service.api.predict import PredictAnswer
from tests.digits import load_test_set
from tests.service.engine.driving import doubtful_digits

PIXELS = {"content-type": "application/octet-stream"}


def images() -> npt.NDArray[np.uint8]:
    """A digit with a clear answer and a doubtful one."""
    return load_test_set()[0][[0, doubtful_digits()[0]]]


def predict(client: httpx.Client, **query: Any) -> httpx.Response:
    return client.post("/predict", content=images().tobytes(), headers=PIXELS, params=query)


def predictions(answer: httpx.Response) -> list[dict[str, Any]]:
    PredictAnswer.model_validate_json(answer.content, strict=True)
    listed: list[dict[str, Any]] = answer.json()["predictions"]
    return listed


def test_an_answer_says_which_images_were_solved_again(client: httpx.Client) -> None:
    clear, doubtful = predictions(predict(client))
    assert (clear["solver"]["escalated"], doubtful["solver"]["escalated"]) == (False, True)
    assert clear["margin"] > doubtful["margin"] > 0
    ladder = client.get("/models/odenet-mnist").json()["profile"]["ladders"][1]
    loose, tight = (rung["solver"]["rtol"] for rung in ladder["rungs"])
    assert (clear["solver"]["rtol"], doubtful["solver"]["rtol"]) == (loose, tight)
    (_, once) = predictions(predict(client, tolerance=tight, method=doubtful["solver"]["method"]))
    assert doubtful["probabilities"] == once["probabilities"]
    assert doubtful["solver"]["nfe"] == once["solver"]["nfe"] + clear["solver"]["nfe"]


def test_the_query_and_a_json_body_may_hold_the_fields(client: httpx.Client) -> None:
    for fields in ({"agreement": 0.999}, {"agreement": 0.99}, {"escalate": False}, {"escalate": True}):
        by_json = client.post("/predict", json={"images": images().tolist(), **fields})
        assert predictions(by_json) == predictions(predict(client, **fields))


def test_a_greater_agreement_costs_more(client: httpx.Client) -> None:
    costs = [
        sum(each["solver"]["nfe"] for each in predictions(predict(client, agreement=agreement)))
        for agreement in (0.99, 0.999, 1)
    ]
    assert costs == sorted(set(costs))


def test_a_trace_has_both_solves_of_an_escalated_image(client: httpx.Client) -> None:
    clear, doubtful = predictions(predict(client, trace=True))
    assert clear["looser_traces"] == []
    (loose,) = doubtful["looser_traces"]
    assert len(doubtful["trace"]["attempts"]) == doubtful["solver"]["steps"]
    assert loose["depth"][0] == doubtful["trace"]["depth"][0]
    greatest = np.sort(doubtful["trace"]["depth"][-1]["logits"])[-2:]
    assert doubtful["margin"] == pytest.approx(greatest[1] - greatest[0], rel=1e-5)


@pytest.mark.parametrize(
    ("fields", "field", "value"),
    [
        ({"agreement": 0.999, "tolerance": 0.1}, "agreement", "0.999"),
        ({"agreement": 0.999, "method": "heun2"}, "agreement", "0.999"),
        ({"agreement": 0.999, "escalate": False}, "agreement", "0.999"),
        ({"agreement": 0.999, "max_nfe": 2}, "max_nfe", "2"),
        ({"escalate": True, "steps": 2, "method": "rk4"}, "escalate", "true"),
    ],
    ids=str,
)
def test_fields_that_contradict_each_other_are_refused(
    client: httpx.Client, fields: dict[str, Any], field: str, value: str
) -> None:
    answer = predict(client, **fields)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert (error["field"], error["value"]) == (field, value)
