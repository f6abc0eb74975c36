"""`GET /models` lists the models that are served."""

import json

import httpx

from models.artifact import Manifest
from tests.serving import SHIPPED


def test_models_are_listed(client: httpx.Client) -> None:
    models = {model["name"]: model for model in client.get("/models").json()}
    model = models["odenet-mnist"]
    assert model["default"] is True
    assert model["version"] == SHIPPED.name
    assert model["parameters"] == 212_026
    assert {"euler", "midpoint", "rk4", "heun2", "bosh3", "dopri5", "tsit5"} == set(model["methods"])


def test_a_model_has_its_manifest_card_and_profile(client: httpx.Client) -> None:
    details = client.get("/models/odenet-mnist").json()
    assert details["manifest"] == Manifest.model_validate_json((SHIPPED / "manifest.json").read_bytes()).model_dump(
        mode="json"
    )
    assert details["profile"] == json.loads((SHIPPED / "profile.json").read_text())
    assert details["card"] == (SHIPPED / "README.md").read_text()


def test_an_unknown_model_is_refused_with_its_name(client: httpx.Client) -> None:
    answer = client.get("/models/lenet")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["value"] == "lenet"
