"""The request fields that limit the cost of an answer, over a real socket."""

from typing import Any

import httpx
import pytest

from tests.digits import load_test_set, seven

PIXELS = {"content-type": "application/octet-stream"}
TIGHT: dict[str, Any] = {"method": "heun2", "tolerance": 1e-6}


def predict(client: httpx.Client, rows: int = 1, **query: Any) -> httpx.Response:
    """The answer to a number of digits as raw pixels, with the fields in the query."""
    return client.post("/predict", content=load_test_set()[0][:rows].tobytes(), headers=PIXELS, params=query)


def solvers(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [prediction["solver"] for prediction in answer.json()["predictions"]]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    """The only error of an answer with problem details."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert isinstance(error, dict)
    return error


def test_max_nfe_limits_the_evaluations_of_each_image(client: httpx.Client) -> None:
    for max_nfe in (2, 11, 100):
        for solver in solvers(predict(client, 5, max_nfe=max_nfe, **TIGHT)):
            assert max_nfe - 2 < solver["nfe"] <= max_nfe
            assert solver["outcome"] == "max_nfe"


def test_a_json_body_may_hold_the_fields(client: httpx.Client) -> None:
    body = {"images": [seven().tolist()], "max_nfe": 10, "deadline_ms": 60_000, "allow_degraded": True, **TIGHT}
    (solver,) = solvers(client.post("/predict", json=body))
    assert (solver["nfe"], solver["outcome"]) == (10, "max_nfe")


def test_a_max_nfe_that_is_not_reached_changes_nothing(client: httpx.Client) -> None:
    free, limited = (
        predict(client, 3, method="dopri5", tolerance=1e-3, **more).json()["predictions"]
        for more in ({}, {"max_nfe": 999})
    )
    assert limited == free


@pytest.mark.parametrize(("method", "least"), [("heun2", 2), ("bosh3", 4), ("dopri5", 7), ("rk4", 4)])
def test_a_max_nfe_below_one_step_is_refused_with_the_least_value(
    client: httpx.Client, method: str, least: int
) -> None:
    assert solvers(predict(client, method=method, max_nfe=least))[0]["nfe"] == least
    error = problem(predict(client, method=method, max_nfe=least - 1), 422)
    assert (error["field"], error["value"]) == ("max_nfe", str(least - 1))
    assert f"a step of {method} takes at least {least} evaluations" in error["message"]


def test_a_deadline_without_escalation_sets_the_tolerance_and_the_answer_has_it(client: httpx.Client) -> None:
    (solver,) = solvers(predict(client, deadline_ms=600_000, escalate=False))
    assert (solver["rtol"], solver["atol"], solver["outcome"]) == (1e-6, 1e-6, "converged")
    assert solver["degraded"] is False


def test_a_deadline_alone_uses_a_ladder(client: httpx.Client) -> None:
    deadline, default = (solvers(predict(client, **fields))[0] for fields in ({"deadline_ms": 600_000}, {}))
    assert (deadline["method"], deadline["rtol"]) == (default["method"], default["rtol"])
    assert deadline["degraded"] is False


def test_a_deadline_keeps_a_requested_tolerance(client: httpx.Client) -> None:
    (solver,) = solvers(predict(client, deadline_ms=600_000, tolerance=0.5))
    assert solver["rtol"] == 0.5


def test_a_deadline_that_cannot_be_met_gets_504(client: httpx.Client) -> None:
    error = problem(predict(client, 50, deadline_ms=1, **TIGHT), 504)
    assert (error["field"], error["value"]) == ("deadline_ms", "1")


@pytest.mark.parametrize("priority", ["high", "normal", "low"])
def test_the_query_may_hold_a_priority_with_any_body(client: httpx.Client, priority: str) -> None:
    assert predict(client, priority=priority).status_code == 200
    json = {"images": [seven().tolist()], "tolerance": 1}
    assert client.post("/predict", params={"priority": priority}, json=json).status_code == 200


def test_a_body_may_not_hold_a_priority(client: httpx.Client) -> None:
    error = problem(client.post("/predict", json={"images": [seven().tolist()], "priority": "high"}), 422)
    assert error["field"] == "priority"
    assert "is not a field" in error["message"]


BAD = {
    "agreement": ["-0.1", "1.001", "nan", "high", ""],
    "escalate": ["maybe", "2", ""],
    "max_nfe": ["0", "10001", "many", "1.5", ""],
    "deadline_ms": ["0", "-5", "600001", "nan", "inf", "soon", ""],
    "allow_degraded": ["maybe", "2", ""],
    "priority": ["urgent", "High", ""],
}


@pytest.mark.parametrize(("field", "value"), [(field, value) for field, values in BAD.items() for value in values])
def test_an_invalid_value_is_refused_with_its_field(client: httpx.Client, field: str, value: str) -> None:
    query: dict[str, Any] = {field: value}
    error = problem(predict(client, **query), 422)
    assert (error["field"], error["value"]) == (field, value)


def test_a_field_in_both_the_query_and_the_body_is_refused(client: httpx.Client) -> None:
    body = {"images": [seven().tolist()], "max_nfe": 10}
    assert problem(client.post("/predict", json=body, params={"max_nfe": 10}), 422)["field"] == "max_nfe"
    twice = problem(client.post("/predict", json=body | {"escalate": True}, params={"escalate": "false"}), 422)
    assert (twice["field"], twice["value"]) == ("escalate", "false and true")


def test_a_field_twice_in_the_query_is_refused_with_both_values(client: httpx.Client) -> None:
    answer = client.post("/predict?max_nfe=10&max_nfe=20", content=seven().tobytes(), headers=PIXELS)
    error = problem(answer, 422)
    assert (error["field"], error["value"]) == ("max_nfe", "10 and 20")


@pytest.mark.parametrize("name", ["mlp", "resnet"])
def test_a_model_without_an_ode_accepts_only_fields_that_do_not_concern_the_solver(
    client: httpx.Client, name: str
) -> None:
    for more in ({"deadline_ms": 60_000}, {"allow_degraded": True}, {"allow_degraded": False}, {"priority": "high"}):
        answer = predict(client, model=name, **more)
        assert answer.json()["predictions"][0]["solver"] is None
    assert problem(predict(client, model=name, max_nfe=10), 422)["field"] == "max_nfe"
