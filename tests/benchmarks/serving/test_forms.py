"""The forms of requests and answers."""

import json
from math import isnan

import numpy as np
import pytest

from benchmarks.serving.forms import JSON, RAW, Form, Row, pixels, predictions
from benchmarks.serving.requests import Digits


def test_a_raw_body_and_a_json_body_hold_the_same_images(digits: Digits) -> None:
    images = digits.images[:3]
    assert np.array_equal(np.frombuffer(RAW.write(images), np.uint8).reshape(3, 28, 28), images)
    assert np.array_equal(json.loads(JSON.write(images))["images"], images)


def test_the_head_names_path_query_length_and_own_headers() -> None:
    form = Form("/infer", "text/plain", pixels, None, headers=(("Inference-Header-Content-Length", "0"),))
    assert form.request("a=1", "here:80", b"twelve bytes").split(b"\r\n") == [
        b"POST /infer?a=1 HTTP/1.1",
        b"Host: here:80",
        b"Content-Type: text/plain",
        b"Content-Length: 12",
        b"Inference-Header-Content-Length: 0",
        b"",
        b"twelve bytes",
    ]
    assert form.request("", "here", b"").startswith(b"POST /infer HTTP/1.1\r\n")


def test_an_answer_is_read_with_or_without_a_solver() -> None:
    solver = {"nfe": 4, "rtol": 0.1, "degraded": True}
    solved, plain = predictions(json.dumps({"predictions": [{"digit": 7, "solver": solver}, {"digit": 2}]}).encode())
    assert solved == Row(7, 4.0, 0.1, 1.0)
    assert plain.digit == 2
    assert isnan(plain.nfe)


@pytest.mark.parametrize("body", [b"no json", b"{}", b"[]", b'{"predictions": [{}]}'])
def test_a_body_without_answers_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError, AttributeError)):
        predictions(body)
