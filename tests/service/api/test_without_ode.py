"""Models without an ODE are served like other models, but they accept no solver fields."""

import httpx
import pytest

from tests.digits import load_test_set

PIXELS = {"content-type": "application/octet-stream"}

without_ode = pytest.mark.parametrize("name", ["mlp", "resnet"])


@without_ode
def test_a_model_without_an_ode_classifies_digits(client: httpx.Client, name: str) -> None:
    images, labels = load_test_set()
    answer = client.post(f"/predict?model={name}", content=images[:50].tobytes(), headers=PIXELS).json()
    assert answer["model"] == name
    digits = [prediction["digit"] for prediction in answer["predictions"]]
    assert sum(digit != label for digit, label in zip(digits, labels[:50].tolist(), strict=True)) <= 2
    assert all(prediction["solver"] is None for prediction in answer["predictions"])


@without_ode
@pytest.mark.parametrize(
    "field",
    ["method=dopri5", "tolerance=0.1", "rtol=0.1", "atol=0.1", "steps=2", "agreement=0.999", "escalate=false"],
)
def test_a_solver_field_is_refused_with_its_name(client: httpx.Client, name: str, field: str) -> None:
    images, _ = load_test_set()
    answer = client.post(f"/predict?model={name}&{field}", content=images[0].tobytes(), headers=PIXELS)
    assert answer.status_code == 422
    (wrong,) = answer.json()["errors"]
    assert (wrong["field"], wrong["value"]) == tuple(field.split("="))
    assert f"{name} solves no ODE" in wrong["message"]
    assert "accepts only deadline_ms and allow_degraded" in wrong["message"]


@without_ode
def test_the_catalogue_shows_no_methods_and_no_default_solver(client: httpx.Client, name: str) -> None:
    details = client.get(f"/models/{name}").json()
    assert details["profile"] is None
    assert details["manifest"]["methods"] == []
    assert details["manifest"]["default_solver"] is None
