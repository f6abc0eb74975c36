"""The same pixels get the same answer, or the same error, in every kind of body and in every protocol."""

import base64
import json
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest

from service.images.errors import NoDigitError
from service.images.normalise import to_mnist
from tests.digits import encoded, seven
from tests.service.api.v2.infer_requests import INFER, LENGTH, joined

Pixels = np.ndarray[Any, np.dtype[np.uint8]]
Outcome = list[float] | str

SEVEN = seven()
PIXELS: dict[str, Pixels] = {
    "in MNIST's form": SEVEN,
    "black on white": 255 - SEVEN,
    "off centre": np.roll(SEVEN, (1, -4), (0, 1)),
    "faint, on grey": (90 + SEVEN // 6).astype(np.uint8),
    "small": np.pad(SEVEN[::2, ::2], 7),
    "0 and 1": (SEVEN > 127).astype(np.uint8),
    "all 0": np.zeros((28, 28), np.uint8),
    "all 255": np.full((28, 28), 255, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8),
}


def probabilities(answer: httpx.Response) -> Outcome:
    """The probabilities in an answer of `/predict`, or the message of its error."""
    if answer.status_code == 422:
        return str(answer.json()["errors"][0]["message"])
    values: list[float] = answer.json()["predictions"][0]["probabilities"]
    return values


def outputs(answer: httpx.Response) -> Outcome:
    """The probabilities in an answer of the Open Inference Protocol, or its error."""
    if answer.status_code == 422:
        return str(answer.json()["error"])
    values: list[float] = next(
        output["data"] for output in answer.json()["outputs"] if output["name"] == "probabilities"
    )
    return values


def infer(client: httpx.Client, fields: dict[str, Any], binary: bytes = b"") -> Outcome:
    tensor = {"name": "image", **fields, **({"parameters": {"binary_data_size": len(binary)}} if binary else {})}
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "probabilities"}]}).encode()
    return outputs(client.post(INFER, content=head + binary, headers={LENGTH: str(len(head))}))


def as_png(client: httpx.Client, pixels: Pixels) -> Outcome:
    return probabilities(client.post("/predict", content=encoded(pixels), headers={"content-type": "image/png"}))


def as_bytes(client: httpx.Client, pixels: Pixels) -> Outcome:
    headers = {"content-type": "application/octet-stream"}
    return probabilities(client.post("/predict", content=pixels.tobytes(), headers=headers))


def as_rows(client: httpx.Client, pixels: Pixels) -> Outcome:
    return probabilities(client.post("/predict", json={"images": [pixels.tolist()]}))


def as_base64(client: httpx.Client, pixels: Pixels) -> Outcome:
    return probabilities(client.post("/predict", json={"images": [base64.b64encode(encoded(pixels)).decode()]}))


def as_form(client: httpx.Client, pixels: Pixels) -> Outcome:
    return probabilities(client.post("/predict", files={"a": ("a", pixels.tobytes(), "application/octet-stream")}))


def as_numbers(client: httpx.Client, pixels: Pixels) -> Outcome:
    return infer(client, {"shape": [1, 28, 28], "datatype": "UINT8", "data": pixels.ravel().tolist()})


def as_binary(client: httpx.Client, pixels: Pixels) -> Outcome:
    return infer(client, {"shape": [1, 28, 28], "datatype": "UINT8"}, pixels.tobytes())


def as_floats(client: httpx.Client, pixels: Pixels) -> Outcome:
    return infer(client, {"shape": [1, 28, 28], "datatype": "FP32"}, (pixels / 255).astype("<f4").tobytes())


def as_element(client: httpx.Client, pixels: Pixels) -> Outcome:
    return infer(client, {"shape": [1], "datatype": "BYTES"}, joined([encoded(pixels)]))


OTHERS: list[Callable[[httpx.Client, Pixels], Outcome]] = [
    as_bytes,
    as_rows,
    as_base64,
    as_form,
    as_numbers,
    as_binary,
    as_floats,
    as_element,
]


@pytest.mark.parametrize("name", PIXELS)
def test_the_same_pixels_get_the_same_answer_in_every_body(client: httpx.Client, name: str) -> None:
    pixels = PIXELS[name]
    expected = as_png(client, pixels)
    for send in OTHERS:
        outcome = send(client, pixels)
        if isinstance(expected, str) or isinstance(outcome, str):
            assert isinstance(outcome, str), send.__name__
            assert str(expected) in outcome, send.__name__
        else:
            assert outcome == pytest.approx(expected, abs=1e-6), send.__name__


@pytest.mark.parametrize("name", ["black on white", "off centre", "faint, on grey", "small"])
def test_a_seven_in_another_form_is_recognised_in_a_list_with_one_in_mnists_form(
    client: httpx.Client, name: str
) -> None:
    answer = client.post("/predict", json={"images": [SEVEN.tolist(), PIXELS[name].tolist()]})
    assert [prediction["digit"] for prediction in answer.json()["predictions"]] == [7, 7]


@pytest.mark.parametrize(("name", "levels"), [("0 and 1", "0 to 1"), ("all 0", "0 to 0"), ("all 255", "255 to 255")])
def test_a_wrong_scale_of_grey_levels_is_refused_with_the_levels_and_the_row(
    client: httpx.Client, name: str, levels: str
) -> None:
    body = SEVEN.tobytes() + PIXELS[name].tobytes()
    answer = client.post("/predict", content=body, headers={"content-type": "application/octet-stream"})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "body.1"
    assert f"its levels go from {levels}, of 0 to 255" in error["message"]


def test_a_trace_has_the_image_that_the_network_saw(client: httpx.Client) -> None:
    pixels = PIXELS["off centre"]
    answer = client.post("/predict", json={"images": [pixels.tolist()], "trace": True})
    assert np.array_equal(answer.json()["predictions"][0]["image"], to_mnist(pixels))


def test_these_tests_have_pixels_that_are_accepted_and_pixels_that_are_refused() -> None:
    def refused(pixels: Pixels) -> bool:
        try:
            to_mnist(pixels)
        except NoDigitError:
            return True
        return False

    assert {name for name, pixels in PIXELS.items() if refused(pixels)} == {"0 and 1", "all 0", "all 255", "noise"}
