"""Inference from tensors, over a real socket. The answers equal those of /predict, in every form of a request."""

import json
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.service.api.v2.infer_requests import DIGITS, ENCODINGS, INFER, LENGTH, error, infer, outputs, post, tensor
from tests.serving import SHIPPED

ROWS = 3
TIGHT: dict[str, Any] = {"tolerance": 1e-4}
SOLVES = ["nfe", "error_estimate", "method", "rtol", "atol", "steps", "rejected", "outcome", "escalated", "degraded"]


def predicted(client: httpx.Client, rows: int = ROWS, **query: Any) -> dict[str, Any]:
    """The answer of /predict to the first digits, as one column for each output."""
    answer = client.post(
        "/predict",
        content=DIGITS[:rows].tobytes(),
        headers={"content-type": "application/octet-stream"},
        params={name: json.dumps(value).strip('"') for name, value in query.items()},
    )
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["predictions"]
    columns = {name: [each["solver"][name] for each in predictions if each["solver"]] for name in SOLVES}
    return {
        "probabilities": [value for each in predictions for value in each["probabilities"]],
        "digit": [each["digit"] for each in predictions],
        "margin": [each["margin"] for each in predictions],
    } | {name: column for name, column in columns.items() if column}


# Inputs.


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("binary", [False, True], ids=["json", "binary"])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32", "BYTES"])
def test_every_form_of_a_request_gets_the_answer_of_predict(
    client: httpx.Client, datatype: str, binary: bool, encoding: str
) -> None:
    answer = infer(client, DIGITS[:ROWS], datatype, binary=binary, encoding=encoding, parameters=TIGHT)
    assert outputs(answer) == predicted(client, **TIGHT)


def test_a_body_of_only_grey_levels_is_answered_in_binary_form(client: httpx.Client) -> None:
    answer = client.post(INFER, content=DIGITS[:ROWS].tobytes(), headers={LENGTH: "0"})
    head = json.loads(answer.content[: int(answer.headers[LENGTH])])
    assert head["outputs"][0]["shape"] == [ROWS, 10]
    assert all("binary_data_size" in output["parameters"] for output in head["outputs"])


@pytest.mark.parametrize("media_type", ["", "application/json", "application/octet-stream", "text/plain", "no type"])
def test_the_media_type_is_ignored(client: httpx.Client, media_type: str) -> None:
    head, binary = tensor(DIGITS[:1], binary=True)
    headers = {"content-type": media_type} if media_type else {}
    assert post(client, {"inputs": [head]}, binary, headers=headers).status_code == 200


def test_unknown_keys_are_ignored(client: httpx.Client) -> None:
    answer = infer(client, DIGITS[:1], model_name="another", raw_input_contents=[], parameters=TIGHT)
    assert outputs(answer)["digit"] == [7]


def test_every_example_of_the_document_works(client: httpx.Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/v2/models/{name}/infer", "/v2/models/{name}/versions/{version}/infer"):
        examples = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert len(examples) == 2
        for example in examples.values():
            answer = client.post(path.format(name="odenet-mnist", version=SHIPPED.name), json=example["value"])
            assert answer.status_code == 200, answer.text


def test_a_request_may_name_a_version(client: httpx.Client) -> None:
    path = "/v2/models/odenet-mnist/versions/{}/infer"
    assert outputs(infer(client, DIGITS[:1], path=path.format(SHIPPED.name)))["digit"] == [7]
    answer = infer(client, DIGITS[:1], path=path.format(1))
    assert (answer.status_code, "no such version" in error(answer)) == (404, True)


# Parameters.


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"tolerance": 1e-3},
        {"tolerance": 10},
        {"rtol": 1e-2, "atol": 1e-4},
        {"rtol": 1e-2},
        {"method": "tsit5"},
        {"method": "dopri5", "tolerance": 1e-2},
        {"method": "rk4", "steps": 2},
        {"method": "heun2", "tolerance": 1e-6, "max_nfe": 11},
        {"tolerance": 1e-3, "deadline_ms": 60_000},
        {"deadline_ms": 600_000},
        {"tolerance": 1e-3, "allow_degraded": True},
        {"allow_degraded": False},
        {"agreement": 0.999},
        {"agreement": 0.99, "deadline_ms": 60_000},
        {"escalate": False},
    ],
    ids=str,
)
def test_a_parameter_means_the_same_as_the_field_of_predict(client: httpx.Client, parameters: dict[str, Any]) -> None:
    assert outputs(infer(client, DIGITS[:ROWS], parameters=parameters)) == predicted(client, **parameters)


def test_a_timeout_is_a_deadline_in_microseconds(client: httpx.Client) -> None:
    assert outputs(infer(client, DIGITS[:1], parameters={"timeout": 600_000_000, "escalate": False}))["rtol"] == [1e-6]
    late = infer(client, DIGITS[:50], parameters={"timeout": 1_000, "tolerance": 1e-6, "method": "heun2"})
    assert (late.status_code, error(late)) == (504, "deadline_ms: leaves no time for an answer; it is 1")
    both = infer(client, DIGITS[:1], parameters={"timeout": 9_000, "deadline_ms": 9})
    assert both.status_code == 422
    assert "parameters.timeout: is the same as deadline_ms" in error(both)


@pytest.mark.parametrize("priority", [0, 1, 2, 3])
def test_a_priority_is_a_level(client: httpx.Client, priority: int) -> None:
    assert outputs(infer(client, DIGITS[:1], parameters={"priority": priority}))["digit"] == [7]


# Outputs.


def test_all_outputs_are_returned_unless_the_request_names_some(client: httpx.Client) -> None:
    metadata = client.get("/v2/models/odenet-mnist").json()["outputs"]
    every: list[dict[str, Any]] = [{}, {"outputs": []}, {"outputs": None}]
    for requested in every:
        returned = infer(client, DIGITS[:ROWS], **requested).json()["outputs"]
        assert [(each["name"], each["datatype"]) for each in returned] == [
            (each["name"], each["datatype"]) for each in metadata
        ]
        assert [each["shape"][1:] for each in returned] == [each["shape"][1:] for each in metadata]
        assert {each["shape"][0] for each in returned} == {ROWS}
    some = infer(client, DIGITS[:1], outputs=[{"name": "nfe"}, {"name": "digit"}])
    assert [each["name"] for each in some.json()["outputs"]] == ["nfe", "digit"]


def test_a_model_without_an_ode_has_fewer_outputs(client: httpx.Client) -> None:
    answer = infer(client, DIGITS[:1], path="/v2/models/mlp/infer")
    assert sorted(outputs(answer)) == ["digit", "margin", "probabilities"]
    refused = infer(client, DIGITS[:1], path="/v2/models/mlp/infer", outputs=[{"name": "nfe"}])
    assert (refused.status_code, error(refused)) == (
        422,
        "outputs.0.name: must be one of probabilities, digit, margin, each at most once; it is nfe",
    )


def test_a_fixed_step_method_has_no_tolerances_and_no_error_estimate(client: httpx.Client) -> None:
    parameters = {"method": "euler", "steps": 3}
    columns = outputs(infer(client, DIGITS[:2], parameters=parameters))
    assert columns["rtol"] == columns["atol"] == columns["error_estimate"] == [None, None]
    assert columns["nfe"] == [3, 3]


@pytest.mark.parametrize("request_id", ["", "seven", 'é\n"\\\u0000', "x" * 100_000])
def test_the_answer_repeats_the_id(client: httpx.Client, request_id: str) -> None:
    assert infer(client, DIGITS[:1], id=request_id).json()["id"] == request_id
    assert "id" not in infer(client, DIGITS[:1]).json()


def test_binary_outputs_follow_the_json_in_their_order(client: httpx.Client) -> None:
    requested: list[dict[str, Any]] = [
        {"name": "digit", "parameters": {"binary_data": True}},
        {"name": "nfe"},
        {"name": "method", "parameters": {"binary_data": True}},
        {"name": "probabilities", "parameters": {"binary_data": True}},
    ]
    answer = infer(client, DIGITS[:2], outputs=requested, parameters=TIGHT)
    assert answer.headers["content-type"] == "application/octet-stream"
    length = int(answer.headers[LENGTH])
    returned, rest = json.loads(answer.content[:length])["outputs"], answer.content[length:]
    sizes = [each.get("parameters", {}).get("binary_data_size", 0) for each in returned]
    assert [each["name"] for each in returned] == [each["name"] for each in requested]
    assert ["data" in each for each in returned] == [False, True, False, False]
    assert sum(sizes) == len(rest)
    expected = predicted(client, 2, **TIGHT)
    assert np.frombuffer(rest[:16], "<i8").tolist() == expected["digit"]
    method = expected["method"][0].encode()
    assert rest[16 : 16 + sizes[2]] == 2 * (len(method).to_bytes(4, "little") + method)
    assert np.frombuffer(rest[-80:], "<f4").tolist() == expected["probabilities"]


def test_binary_data_output_applies_to_outputs_without_binary_data(client: httpx.Client) -> None:
    requested = [{"name": "digit"}, {"name": "nfe", "parameters": {"binary_data": False}}]
    answer = infer(client, DIGITS[:1], outputs=requested, parameters={"binary_data_output": True})
    head = json.loads(answer.content[: int(answer.headers[LENGTH])])
    assert ["data" in each for each in head["outputs"]] == [False, True]


def test_a_classification_returns_the_most_probable_classes(client: httpx.Client) -> None:
    every = np.reshape(predicted(client)["probabilities"], (ROWS, 10))
    for classes, shape in ((1, 1), (3, 3), (10, 10), (99, 10)):
        requested = [{"name": "probabilities", "parameters": {"classification": classes}}]
        (output,) = infer(client, DIGITS[:ROWS], outputs=requested).json()["outputs"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [ROWS, shape])
        for text, (row, rank) in zip(output["data"], np.ndindex(ROWS, shape), strict=True):
            value, index, label = text.split(":")
            assert int(index) == int(label) == np.argsort(-every[row], kind="stable")[rank]
            assert float(value) == every[row][int(index)]


@pytest.mark.parametrize(
    ("requested", "text"),
    [
        ([{"name": "logits"}], "outputs.0.name: must be one of probabilities, digit, margin, nfe"),
        ([{"name": "digit"}, {"name": "digit"}], "outputs.1.name: must be one of"),
        ([{"name": "digit", "parameters": {"classification": 2}}], "is available for probabilities, not for digit"),
        ([{"name": "x" * 5_000}], "x" * 64 + "…"),
        ([{"name": "digit"}] * 65, "outputs: List should have at most 64 items"),
    ],
)
def test_an_output_that_the_model_does_not_have_is_refused(
    client: httpx.Client, requested: list[Any], text: str
) -> None:
    answer = infer(client, DIGITS[:1], outputs=requested)
    assert answer.status_code == 422
    assert text in error(answer)


@examples(1.2)
@given(
    numbers=st.lists(st.integers(0, 200), min_size=1, max_size=4),
    datatype=st.sampled_from(["UINT8", "FP32", "BYTES"]),
    binary=st.booleans(),
    encoding=st.sampled_from(sorted(ENCODINGS)),
)
def test_an_image_has_the_same_answer_in_any_batch_and_form(
    client: httpx.Client, numbers: list[int], datatype: str, binary: bool, encoding: str
) -> None:
    images = DIGITS[numbers]
    together = outputs(infer(client, images, datatype, binary=binary, encoding=encoding, parameters=TIGHT))
    alone = outputs(infer(client, images[-1:], parameters=TIGHT))
    last = {name: column[-1] for name, column in together.items()}
    assert last == {name: column[-1] for name, column in alone.items()}
    assert together["probabilities"][-10:] == alone["probabilities"]
