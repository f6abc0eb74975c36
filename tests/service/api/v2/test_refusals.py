"""Every request below /v2 gets an answer, or the reason for its refusal as {"error": …}, over a real socket."""

import base64
import gzip
import json
import struct
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.digits import encoded
from tests.examples import examples
from tests.pictures import png_of
from tests.service.api.v2.infer_requests import DIGITS, INFER, LENGTH, error, infer, joined, outputs, tensor

HEAD, IMAGE = tensor(DIGITS[:1], binary=True)
REQUEST = json.dumps({"inputs": [tensor(DIGITS[:1])[0]]}).encode()
SPLIT = json.dumps({"inputs": [HEAD]}).encode()
BOMB = bytes(64 * 2**20)


def body(content: bytes, *headers: tuple[str, str]) -> dict[str, Any]:
    return {"content": content, "headers": list(headers)}


GZIP, DEFLATE = ("Content-Encoding", "gzip"), ("Content-Encoding", "deflate")
LARGE_PICTURE = base64.b64encode(png_of(2000, 1000)).decode()
CASES: dict[str, tuple[dict[str, Any], int, str]] = {
    # case: (the request, the status, a part of the error)
    "nothing": (body(b""), 400, "body: is not JSON"),
    "no JSON": (body(b"seven"), 400, "body: is not JSON"),
    "deep nesting": (body(b"[" * 1_000), 400, "body: is not JSON: recursion limit"),
    "a lone surrogate": (body(b'{"id": "\\ud800"}'), 400, "body: is not JSON"),
    "no object": (body(b"[]"), 422, "body: must be an object"),
    "no inputs": (body(b"{}"), 422, "inputs: Field required"),
    "many parameters": (
        body(b'{"parameters": {%s}}' % b",".join(b'"%d":0' % number for number in range(1_000))),
        422,
        "parameters: at most 64 parameters",
    ),
    "very many parameters": (
        body(b'{"parameters": {%s}}' % b",".join(b'"%d":0' % number for number in range(40_000))),
        413,
        "body: at most 3,600 lists, objects, names and texts",
    ),
    "a parameter out of range": (
        {"json": {"inputs": [tensor(DIGITS[:1])[0]], "parameters": {"tolerance": 11}}},
        422,
        "parameters.tolerance: Input should be less than or equal to 10; it is 11",
    ),
    "parameters that do not go together": (
        {"json": {"inputs": [tensor(DIGITS[:1])[0]], "parameters": {"method": "rk4", "tolerance": 1}}},
        422,
        "tolerance: ",
    ),
    "too many images": ({"json": {"inputs": [tensor(DIGITS[:51])[0]]}}, 413, "at most 50 images in a request"),
    "too many pixels": (
        {"json": {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [LARGE_PICTURE]}]}},
        413,
        "1,000,000",
    ),
    "too long a body": (body(bytes(400_001)), 413, "body: at most 400,000 bytes"),
    "a gzip bomb": (body(gzip.compress(BOMB, 1), GZIP), 413, "at most 400,000 bytes after decompression"),
    "a deflate bomb": (body(zlib.compress(BOMB, 1), DEFLATE), 413, "at most 400,000 bytes after decompression"),
    "a truncated stream": (body(gzip.compress(REQUEST)[:-9], GZIP), 400, "body: cannot be decompressed"),
    "something after a stream": (
        body(zlib.compress(REQUEST) + b"x", DEFLATE),
        400,
        "there are bytes after the end of the stream",
    ),
    "another coding than the declared one": (body(zlib.compress(REQUEST), GZIP), 400, "body: cannot be decompressed"),
    "not compressed": (body(REQUEST, DEFLATE), 400, "body: cannot be decompressed"),
    "raw deflate": (body(zlib.compress(REQUEST)[2:-4], DEFLATE), 400, "body: cannot be decompressed"),
    "an unknown coding": (body(REQUEST, ("Content-Encoding", "br")), 415, "must be one of gzip, deflate, identity"),
    "two codings": (body(gzip.compress(zlib.compress(REQUEST)), DEFLATE, GZIP), 415, "it is deflate, gzip"),
    "a length beyond the body": (
        body(SPLIT + IMAGE, (LENGTH, str(len(SPLIT + IMAGE) + 1))),
        400,
        f"is more than the body's {len(SPLIT + IMAGE):,} bytes",
    ),
    "a negative length": (body(SPLIT + IMAGE, (LENGTH, "-1")), 400, "must be a number of bytes; it is -1"),
    "a length that is not a number": (body(SPLIT + IMAGE, (LENGTH, "many")), 400, "must be a number of bytes"),
    "an empty length": (body(SPLIT + IMAGE, (LENGTH, "")), 400, "must be a number of bytes"),
    "a huge length": (body(SPLIT + IMAGE, (LENGTH, "9" * 5_000)), 400, "must be a number of bytes"),
    "two lengths": (body(SPLIT + IMAGE, (LENGTH, "0"), (LENGTH, str(len(SPLIT)))), 400, "must be a number of bytes"),
    "a length too short": (body(SPLIT + IMAGE, (LENGTH, str(len(SPLIT) - 1))), 400, "body: is not JSON"),
    "a length too long": (body(SPLIT + IMAGE, (LENGTH, str(len(SPLIT) + 1))), 400, "body: is not JSON"),
    "fewer bytes than the JSON declares": (body(SPLIT + IMAGE[1:], (LENGTH, str(len(SPLIT)))), 422, "binary_data_size"),
    "more bytes than the JSON declares": (
        body(SPLIT + IMAGE + b"7", (LENGTH, str(len(SPLIT)))),
        422,
        "785, the number of bytes",
    ),
    "bytes without a length": (body(SPLIT + IMAGE), 400, "body: is not JSON"),
    "no bytes at all": (body(SPLIT), 422, "binary_data_size"),
    "grey levels that do not fill an image": (body(IMAGE[1:], (LENGTH, "0")), 422, "must be 784"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_bad_body_is_refused_with_the_reason(client: httpx.Client, case: tuple[dict[str, Any], int, str]) -> None:
    request, status, text = case
    answer = client.post(INFER, **request)
    assert answer.status_code == status, answer.text
    assert text in error(answer)


def test_the_documented_example_of_an_unknown_encoding_is_the_answer_to_it(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    answers = document["paths"]["/v2/models/{name}/infer"]["post"]["responses"]
    answer = client.post(INFER, **body(REQUEST, ("Content-Encoding", "br")))
    assert answers["415"]["content"]["application/json"]["example"] == answer.json()


def test_the_service_still_answers_after_all_bad_bodies(client: httpx.Client) -> None:
    for request, *_ in CASES.values():
        client.post(INFER, **request)
    assert outputs(infer(client, DIGITS[:1]))["digit"] == [7]


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v2/nothing", 404, "no route has this path; the page /docs lists the routes"),
        ("GET", "/v2/models", 404, "Not Found"),
        ("POST", "/v2/models//infer", 404, "Not Found"),
        ("POST", "/v2/models/lenet/infer", 404, "model: no such model is served; there are mlp, odenet"),
        ("GET", "/v2/models/lenet", 404, "it is lenet"),
        ("GET", "/v2/models/lenet/ready", 404, "it is lenet"),
        ("GET", "/v2/models/odenet-mnist/versions/9/config", 404, "version: no such version is served"),
        ("GET", f"/v2/models/{'x' * 5_000}", 404, "x" * 64 + "…"),
        ("GET", "/v2/models/%2E%2E", 404, "it is .."),
        ("GET", "/v2/models/a%00b%0Ac", 404, "it is a"),
        ("GET", "/v2/models/mlp%0A", 404, "Not Found"),
        ("GET", INFER, 405, "Method Not Allowed: this path takes POST"),
        ("DELETE", "/v2", 405, "Method Not Allowed"),
        ("PUT", "/v2/repository/index", 405, "Method Not Allowed"),
    ],
)
def test_an_unknown_route_model_or_method_is_refused_with_the_reason(
    client: httpx.Client, method: str, path: str, status: int, text: str
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert text in error(answer)
    assert ("allow" in answer.headers) is (status == 405)


# Any body at all.

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=20,
)
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.just("image") | anything,
        "datatype": st.sampled_from(["UINT8", "FP32", "BYTES"]) | anything,
        "shape": st.lists(st.sampled_from([0, 1, 2, 28, 784, -1, 2**63]), max_size=4) | anything,
        "data": st.just([0] * 784) | anything,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 2**40) | anything}),
    },
)
heads = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=2) | anything},
    optional={
        "id": anything,
        "parameters": st.dictionaries(st.sampled_from(["tolerance", "priority", "binary_data_output", "x"]), anything),
        "outputs": st.lists(st.fixed_dictionaries({"name": st.sampled_from(["digit", "nfe"]) | anything}), max_size=2),
    },
).map(lambda head: json.dumps(head).encode())
binaries = (
    st.binary(max_size=900)
    | st.just(IMAGE)
    | st.lists(st.binary(max_size=50) | st.just(encoded(DIGITS[0])), max_size=2).map(joined)
    | st.integers(0, 2**32 - 1).map(lambda length: struct.pack("<I", length) + b"7")
)


@examples(6)
@given(
    head=heads | st.just(SPLIT) | st.binary(max_size=50),
    binary=binaries,
    coding=st.sampled_from(["", "", "gzip", "deflate", "br"]),
    coder=st.sampled_from([bytes, bytes, gzip.compress, zlib.compress]),
    cut=st.none() | st.integers(0, 400),
    rest=st.just(b"") | st.binary(max_size=9),
    length=st.none() | st.integers(-1, 10) | st.integers(0, 2_000),
    lies=st.booleans(),
)
def test_any_body_is_answered_or_refused(
    client: httpx.Client,
    head: bytes,
    binary: bytes,
    coding: str,
    coder: Any,
    cut: int | None,
    rest: bytes,
    length: int | None,
    lies: bool,
) -> None:
    content = (coder(head + binary) + rest)[:cut]
    declared = length if lies else len(head)
    headers = {"Content-Encoding": coding} if coding else {}
    headers |= {} if declared is None else {LENGTH: str(declared)}
    answer = client.post(INFER, content=content, headers=headers)
    assert answer.status_code in {200, 400, 413, 415, 422}, answer.text
    if answer.status_code != 200:
        error(answer)


@pytest.mark.parametrize("path", ["index", "models/mlp/load", "models/mlp/unload"])
@examples(1.2)
@given(content=anything.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=50))
def test_any_body_to_the_repository_is_answered_or_refused(client: httpx.Client, path: str, content: bytes) -> None:
    answer = client.post(f"/v2/repository/{path}", content=content)
    assert answer.status_code in {200, 400, 403, 422}, answer.text
    if answer.status_code != 200:
        error(answer)


def test_a_body_without_a_declared_length_is_refused_when_it_exceeds_the_limit(client: httpx.Client) -> None:
    answer = client.post(INFER, content=(bytes(10_000) for _ in range(100)))
    assert answer.status_code == 413
    assert "body: at most 400,000 bytes" in error(answer)
