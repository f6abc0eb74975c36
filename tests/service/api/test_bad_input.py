"""Each kind of bad input gets the right status, and an answer that names the field, the limit and the value."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digits import encoded, seven
from tests.examples import examples
from tests.pictures import png_of

SEVEN = base64.b64encode(encoded(seven())).decode()
GRID = seven().tolist()
PNG, PIXELS = {"content-type": "image/png"}, {"content-type": "application/octet-stream"}


def with_level(level: Any) -> list[list[Any]]:
    """The seven with another grey level in row 3, column 5."""
    return [[level if (i, j) == (3, 5) else old for j, old in enumerate(row)] for i, row in enumerate(GRID)]


def raw_json(text: str) -> dict[str, Any]:
    return {"content": text, "headers": {"content-type": "application/json"}}


CASES: dict[str, tuple[dict[str, Any], int, str, str]] = {
    # case: (the request, the status, the field in the error, a part of the message or of the value)
    "no JSON": (raw_json("{"), 400, "body", "JSON"),
    "empty body": (raw_json(""), 400, "body", "JSON"),
    "not UTF-8": (
        {"content": b'{"images": ["\xff"]}', "headers": {"content-type": "application/json"}},
        400,
        "body",
        "",
    ),
    "JSON of another kind": (raw_json("[1, 2]"), 422, "body", "object"),
    "a compressed body": (
        {"content": b"", "headers": {"content-type": "application/json", "content-encoding": "gzip"}},
        415,
        "content-encoding",
        "identity",
    ),
    "a field of a very long name": ({"json": {"images": [SEVEN], "x" * 100_000: 1}}, 422, "x" * 64 + "…", "no"),
    "a field twice in the query": (
        {"content": seven().tobytes(), "headers": PIXELS, "params": [("tolerance", 1), ("tolerance", 2)]},
        422,
        "tolerance",
        "twice",
    ),
    "far too many images": (raw_json(f'{{"images": [{"0," * 30_000}0]}}'), 413, "images", "at most 50"),
    "far too many values": (raw_json(f'{{"images": [{"0," * 100_000}0]}}'), 413, "body", "100,000"),
    "far too many names": (
        raw_json(json.dumps(dict.fromkeys(map(str, range(9_000)), 0))),
        413,
        "body",
        "at most 3,600",
    ),
    "a boolean among the grey levels": (
        {"json": {"images": [[[False, *GRID[0][1:]], *GRID[1:]]]}},
        422,
        "images.0",
        "a boolean is no number",
    ),
    "too long a side": ({"content": png_of(20_000, 1), "headers": PNG}, 413, "body", "the limit of a side is 16,384"),
    "no images": ({"json": {}}, 422, "images", "required"),
    "an empty list": ({"json": {"images": []}}, 422, "images", "at least 1"),
    "an unknown field": ({"json": {"images": [SEVEN], "tolerence": 1}}, 422, "tolerence", "is not a field"),
    "27 rows": ({"json": {"images": [GRID[:27]]}}, 422, "images.0", "28 rows of 28"),
    "ragged rows": ({"json": {"images": [[*GRID[:27], [0]]]}}, 422, "images.0", "28 rows of 28"),
    "the second image": ({"json": {"images": [GRID, 5]}}, 422, "images.1", "28 rows of 28"),
    "too bright": ({"json": {"images": [with_level(256)]}}, 422, "images.0", "row 3, column 5 holds 256"),
    "negative": ({"json": {"images": [with_level(-1)]}}, 422, "images.0", "row 3, column 5 holds -1"),
    "a fraction": ({"json": {"images": [with_level(0.5)]}}, 422, "images.0", "row 3, column 5 holds 0.5"),
    "a string for a level": ({"json": {"images": [with_level("9")]}}, 422, "images.0", "numbers"),
    "null for a level": ({"json": {"images": [with_level(None)]}}, 422, "images.0", "numbers"),
    "an enormous level": ({"json": {"images": [with_level(10**40)]}}, 422, "images.0", "numbers"),
    "NaN": (raw_json(json.dumps({"images": [with_level(float("nan"))]})), 422, "images.0", "holds nan"),
    "infinity": (raw_json(json.dumps({"images": [with_level(float("inf"))]})), 422, "images.0", "holds inf"),
    "no base64": ({"json": {"images": ["#"]}}, 400, "images.0", "base64"),
    "base64 without a picture": ({"json": {"images": [SEVEN, "AAAA"]}}, 400, "images.1", "PNG"),
    "no picture": ({"content": b"GIF89a", "headers": PNG}, 400, "body", "PNG"),
    "a damaged picture": ({"content": encoded(seven())[:100], "headers": PNG}, 400, "body", "damaged"),
    "an empty picture": ({"content": b"", "headers": PNG}, 400, "body", "PNG"),
    "783 bytes": ({"content": bytes(783), "headers": PIXELS}, 422, "body", "784"),
    "no bytes": ({"content": b"", "headers": PIXELS}, 422, "body", "784"),
    "an empty form": (
        {
            "files": {},
            "data": {},
            "headers": {"content-type": "multipart/form-data; boundary=b"},
            "content": b"--b--\r\n",
        },
        422,
        "body",
        "no file",
    ),
    "a form with a field": ({"files": {"a": encoded(seven())}, "data": {"tolerance": "1"}}, 422, "tolerance", "query"),
    "a form with JSON": ({"files": {"a": ("a.json", b"{}", "application/json")}}, 415, "a", "image/png"),
    "a form with a text file": ({"files": {"a": ("a.txt", b"7", "text/plain")}}, 415, "a", "image/png"),
    "a form without a boundary": (
        {"content": b"x", "headers": {"content-type": "multipart/form-data"}},
        400,
        "content-type",
        "boundary",
    ),
    "a form that was cut off": (
        {"content": b"--b\r\nContent-Disp", "headers": {"content-type": "multipart/form-data; boundary=b"}},
        400,
        "body",
        "whole form",
    ),
    "a form with too many files": ({"files": [("a", b"7")] * 51}, 413, "images", "at most 50"),
    "an encoding after identity": (
        {"content": b"7", "headers": [*PNG.items(), *[("content-encoding", each) for each in ("identity", "gzip")]]},
        415,
        "content-encoding",
        "identity",
    ),
    "a GIF": ({"content": b"GIF89a", "headers": {"content-type": "image/gif"}}, 415, "content-type", "image/png"),
    "no media type": ({"content": b"7"}, 415, "content-type", "application/json"),
    "tolerance too tight": ({"json": {"images": [SEVEN], "tolerance": 1e-7}}, 422, "tolerance", "0.000001"),
    "tolerance too loose": ({"json": {"images": [SEVEN], "tolerance": 11}}, 422, "tolerance", "10"),
    "tolerance not finite": (raw_json(f'{{"images": ["{SEVEN}"], "tolerance": NaN}}'), 422, "tolerance", ""),
    "tolerance that is not a number": ({"json": {"images": [SEVEN], "tolerance": "tight"}}, 422, "tolerance", "number"),
    "rtol out of range": ({"json": {"images": [SEVEN], "rtol": 0}}, 422, "rtol", "0.000001"),
    "atol out of range": ({"json": {"images": [SEVEN], "atol": 1e9}}, 422, "atol", "10"),
    "tolerance and rtol": ({"json": {"images": [SEVEN], "tolerance": 1, "rtol": 1}}, 422, "rtol", "tolerance"),
    "unknown method": ({"json": {"images": [SEVEN], "method": "rk45"}}, 422, "method", "dopri5"),
    "steps on an adaptive method": ({"json": {"images": [SEVEN], "method": "dopri5", "steps": 3}}, 422, "steps", "rk4"),
    "steps on the default method": ({"json": {"images": [SEVEN], "steps": 3}}, 422, "steps", "rk4"),
    "tolerance on a fixed-step method": (
        {"json": {"images": [SEVEN], "method": "rk4", "tolerance": 1}},
        422,
        "tolerance",
        "dopri5",
    ),
    "no steps": ({"json": {"images": [SEVEN], "method": "rk4", "steps": 0}}, 422, "steps", "1"),
    "too many steps": ({"json": {"images": [SEVEN], "method": "rk4", "steps": 101}}, 422, "steps", "100"),
    "half a step": ({"json": {"images": [SEVEN], "method": "rk4", "steps": 1.5}}, 422, "steps", "integer"),
    "unknown model": ({"json": {"images": [SEVEN], "model": "lenet"}}, 404, "model", "odenet-mnist"),
    "query: out of range": (
        {"content": seven().tobytes(), "headers": PIXELS, "params": {"tolerance": 99}},
        422,
        "tolerance",
        "10",
    ),
    "query: an underscore in a number": (
        {"content": seven().tobytes(), "headers": PIXELS, "params": {"method": "rk4", "steps": "1_0"}},
        422,
        "steps",
        "without underscores and spaces",
    ),
    "query: a space before a number": (
        {"content": seven().tobytes(), "headers": PIXELS, "params": {"count": " 1"}},
        422,
        "count",
        "without underscores and spaces",
    ),
    "an underscore in a number as a text": (
        {"json": {"images": [SEVEN], "deadline_ms": "10_000"}},
        422,
        "deadline_ms",
        "without underscores and spaces",
    ),
    "query: unknown": (
        {"content": seven().tobytes(), "headers": PIXELS, "params": {"tol": 1}},
        422,
        "tol",
        "is not a field; the fields are method, tolerance, ",
    ),
    "query and body": (
        {"json": {"images": [SEVEN], "tolerance": 1}, "params": {"tolerance": 1}},
        422,
        "tolerance",
        "query",
    ),
    "too many images": ({"json": {"images": [SEVEN] * 51}}, 413, "images", "at most 50"),
    "too many raw images": ({"content": bytes(784 * 51), "headers": PIXELS}, 413, "images", "at most 50"),
    "too many files": ({"files": [("f", ("7.png", encoded(seven()), "image/png"))] * 60}, 413, "images", "at most 50"),
    "too many pixels": ({"content": png_of(60_000, 60_000), "headers": PNG}, 413, "body", "3,600,000,000"),
    "too many pixels in base64": (
        {"json": {"images": [base64.b64encode(png_of(2000, 1000)).decode()]}},
        413,
        "images.0",
        "1,000,000",
    ),
    "too large a body": ({"content": bytes(400_001), "headers": PIXELS}, 413, "body", "400,000"),
}


def checked(answer: httpx.Response) -> dict[str, Any]:
    """The problem details of an answer. We check their form, and that they reveal no internals."""
    problem = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"title", "status", "detail", "errors"}
    assert problem["status"] == answer.status_code
    assert "Traceback" not in answer.text
    assert '.py"' not in answer.text
    assert len(answer.content) < 4_000
    assert isinstance(problem, dict)
    return problem


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_input_is_refused_with_the_field(client: httpx.Client, case: tuple[dict[str, Any], int, str, str]) -> None:
    request, status, field, text = case
    answer = client.post("/predict", **request)
    assert answer.status_code == status, answer.text
    problem = checked(answer)
    if field:
        error = problem["errors"][0]
        assert error["field"] == field
        assert text in error["message"] or text in (error["value"] or "")


def test_a_body_without_a_declared_length_is_refused_when_it_exceeds_the_limit(client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    answer = client.post("/predict", content=chunks(), headers=PIXELS)
    assert answer.status_code == 413
    assert checked(answer)["errors"][0]["field"] == "body"


def test_an_answer_has_at_most_ten_errors(client: httpx.Client) -> None:
    answer = client.post("/predict", json={"images": [SEVEN], **dict.fromkeys(map(str, range(40)), 1)})
    assert answer.status_code == 422
    assert len(checked(answer)["errors"]) == 10


def test_unknown_routes_and_methods_get_problem_details(client: httpx.Client) -> None:
    for answer, status in ((client.get("/nothing"), 404), (client.get("/predict"), 405)):
        assert answer.status_code == status
        checked(answer)


def test_the_methods_of_a_path_include_head_where_it_is_answered(client: httpx.Client) -> None:
    for path, methods in (("/models", "GET, HEAD"), ("/predict", "POST")):
        answer = client.delete(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, methods)
        assert checked(answer)["detail"].endswith(f": this path takes {methods}")
    assert client.head("/models").status_code == 200


def test_the_service_still_answers_after_all_bad_input(client: httpx.Client) -> None:
    for request, *_ in CASES.values():
        client.post("/predict", **request)
    assert client.post("/predict", json={"images": [SEVEN]}).json()["predictions"][0]["digit"] == 7


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=60,
)
fields = st.fixed_dictionaries(
    {"images": st.lists(anything | st.just(SEVEN) | st.just(GRID), max_size=3)},
    optional=dict.fromkeys(("tolerance", "rtol", "atol", "method", "steps", "model"), anything),
)


@examples(3)
@given(body=fields | anything)
def test_any_json_is_answered_or_refused(client: httpx.Client, body: Any) -> None:
    answer = client.post("/predict", **raw_json(json.dumps(body)))
    assert answer.status_code in {200, 400, 404, 413, 422}
    if answer.status_code != 200:
        checked(answer)


@examples(3)
@given(
    content=st.binary(max_size=2000),
    media_type=st.sampled_from(
        ["application/json", "image/png", "image/jpeg", "application/octet-stream", "multipart/form-data; boundary=b"]
    ),
    prefix=st.sampled_from(
        [b"", b"--b\r\n", encoded(seven())[:60], encoded(seven(), "JPEG", quality=95)[:200], b'{"images": [']
    ),
)
def test_any_bytes_are_answered_or_refused(
    client: httpx.Client, content: bytes, media_type: str, prefix: bytes
) -> None:
    answer = client.post("/predict", content=prefix + content, headers={"content-type": media_type})
    assert answer.status_code in {200, 400, 415, 422}
    if answer.status_code != 200:
        checked(answer)
