"""Parameters that clients of other servers send are accepted; parameters in a wrong place are refused."""

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.v2.body import read_json
from service.errors import InvalidError
from service.open_inference.request import IGNORED_PARAMETERS, InferParameters, InferRequest
from tests.service.api.v2.infer_requests import DIGITS, INFER, LENGTH, error, infer, outputs, post, tensor

HEAD, _ = tensor(DIGITS[:1])
NAMES = sorted(InferParameters.model_fields)


def read(document: dict[str, Any]) -> InferRequest:
    return read_json(json.dumps(document).encode(), InferRequest)


def test_null_counts_as_absent() -> None:
    nulls = {
        "id": None,
        "parameters": None,
        "outputs": None,
        "inputs": [HEAD | {"parameters": None}],
    }
    assert read(nulls) == read({"inputs": [HEAD]})
    outputs_null = {"inputs": [HEAD], "outputs": [{"name": "digit", "parameters": None}]}
    assert read(outputs_null) == read({"inputs": [HEAD], "outputs": [{"name": "digit"}]})


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_that_is_null_counts_as_absent(name: str) -> None:
    assert read({"inputs": [HEAD], "parameters": {name: None}}).parameters.model_dump(exclude_none=True) == {}


@given(values=st.fixed_dictionaries(dict.fromkeys(IGNORED_PARAMETERS, st.none() | st.text() | st.just({"a": "b"}))))
def test_parameters_that_other_clients_send_are_ignored(values: dict[str, Any]) -> None:
    assert read({"inputs": [HEAD], "parameters": {**values, "tolerance": 0.01}}).parameters.tolerance == 0.01


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"parameters\.tolerence"):
        read({"inputs": [HEAD], "parameters": {"tolerence": 0.01}})


def test_the_refusal_of_an_unknown_parameter_lists_the_parameters() -> None:
    with pytest.raises(InvalidError) as refused:
        read({"inputs": [HEAD], "parameters": {"tolerence": 0.01}})
    (wrong,) = refused.value.errors
    assert (wrong.field, wrong.value) == ("parameters.tolerence", "0.01")
    assert wrong.message.endswith(f"; the parameters are {', '.join(InferParameters.model_fields)}")


@pytest.mark.parametrize(
    "name", ["tolerance", "rtol", "atol", "steps", "max_nfe", "deadline_ms", "priority", "timeout"]
)
def test_a_boolean_is_no_number(name: str) -> None:
    with pytest.raises(InvalidError, match=f"parameters.{name}: must be a number, and a boolean is no number"):
        read({"inputs": [HEAD], "parameters": {name: True}})


@pytest.mark.parametrize("name", ["tolerance", "steps", "max_nfe", "deadline_ms", "agreement", "priority", "timeout"])
def test_the_text_of_a_number_has_no_underscores_and_spaces(name: str) -> None:
    for text in ("1_0", " 1"):
        with pytest.raises(InvalidError, match=f"parameters.{name}: must be a number without underscores"):
            read({"inputs": [HEAD], "parameters": {name: text}})


@given(name=st.sampled_from(NAMES), value=st.none() | st.integers() | st.text() | st.booleans())
def test_a_parameter_of_the_request_in_a_wrong_place_is_refused(name: str, value: Any) -> None:
    misplaced = {name: value}
    for document in (
        {"inputs": [HEAD], **misplaced},
        {"inputs": [HEAD | misplaced]},
        {"inputs": [HEAD | {"parameters": misplaced}]},
        {"inputs": [HEAD], "outputs": [{"name": "digit", **misplaced}]},
        {"inputs": [HEAD], "outputs": [{"name": "digit", "parameters": misplaced}]},
    ):
        with pytest.raises(InvalidError, match=f"{name} must be in the parameters of the request"):
            read(document)


def test_other_keys_are_ignored_because_they_may_be_meant_for_other_servers() -> None:
    assert read({"name": "odenet-mnist", "versions": [1], "inputs": [HEAD | {"extra": 1}]}) == read({"inputs": [HEAD]})


def test_a_byte_order_mark_before_json_is_ignored() -> None:
    content = json.dumps({"inputs": [HEAD]}).encode()
    assert read_json(b"\xef\xbb\xbf" + content, InferRequest) == read_json(content, InferRequest)


# Over a socket.


@pytest.mark.parametrize("query", ["tolerance=1e-5", "tolerence=1e-5", "x", "a=1&b=2", "&"])
def test_a_query_is_refused_because_it_would_have_no_effect(client: httpx.Client, query: str) -> None:
    answer = post(client, {"inputs": [HEAD]}, path=f"{INFER}?{query}")
    assert answer.status_code == 422
    assert "is not read from the query here; put it into the parameters of the request" in error(answer)


FAILURES: dict[str, tuple[dict[str, Any], int]] = {
    "a wrong shape": ({"inputs": [HEAD | {"shape": [1, 784]}]}, 422),
    "no inputs": ({}, 422),
    "a parameter out of range": ({"inputs": [HEAD], "parameters": {"tolerance": 11}}, 422),
    "parameters that do not go together": ({"inputs": [HEAD], "parameters": {"method": "rk4", "tolerance": 1}}, 422),
    "too many images": ({"inputs": [HEAD | {"shape": [51, 28, 28]}]}, 413),
    "an unknown output": ({"inputs": [HEAD], "outputs": [{"name": "x"}]}, 422),
    "an image without ink": ({"inputs": [HEAD | {"data": [0] * 784}]}, 422),
    "an unknown model": ({"inputs": [HEAD]}, 404),
}


@pytest.mark.parametrize("case", FAILURES)
def test_an_error_repeats_the_id_of_the_request(client: httpx.Client, case: str) -> None:
    document, status = FAILURES[case]
    path = INFER.replace("odenet-mnist", "lenet") if status == 404 else INFER
    answer = post(client, {"id": "abc-1", **document}, path=path)
    assert (answer.status_code, answer.json()["id"]) == (status, "abc-1")
    assert set(post(client, document, path=path).json()) == {"error"}


def test_an_id_that_is_no_text_is_not_repeated(client: httpx.Client) -> None:
    answer = infer(client, DIGITS[:1], id=42)
    assert "id: Input should be a valid string" in error(answer)
    assert "id" not in answer.json()


def test_raw_bytes_of_another_type_are_refused(client: httpx.Client) -> None:
    content = (DIGITS[0] / 255).astype("<f4").tobytes()
    answer = client.post(INFER, content=content, headers={LENGTH: "0"})
    assert answer.status_code == 422
    assert "Perhaps the bytes are of another type" in error(answer)
    digits = outputs(infer(client, DIGITS[:3]))["digit"]
    raw = client.post(INFER, content=DIGITS[:3].tobytes(), headers={LENGTH: "0"})
    assert raw.status_code == 200
    assert digits == [7, 2, 1]
