"""The body of a request for inference is decompressed, split and parsed."""

import gzip
import json
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.v2.body import InferBody, decompress, parse_body, read_json
from service.api.v2.repository import LoadRequest
from service.errors import InvalidError, MalformedError, RequestError, TooLargeError, UnsupportedMediaTypeError
from service.open_inference.request import MOST_PARAMETERS, InferRequest
from tests.service.api.v2.infer_requests import ENCODINGS, outcome

MOST = 20_000
TENSOR = {"name": "image", "shape": [1, 28, 28], "datatype": "UINT8"}
HEAD = json.dumps({"inputs": [TENSOR]}).encode()
CODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


def refused(content: bytes, encoding: str = "", header_length: str | None = None) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_body(content, encoding, header_length, MOST, 50, str)
    return caught.value


def with_id(json_id: str) -> bytes:
    """A request whose id is the given JSON."""
    return b'{"id": %s, %s' % (json_id.encode(), HEAD[1:])


# Splitting.


@settings(deadline=None)
@given(
    binary=st.binary(max_size=3_000),
    encoding=st.sampled_from(sorted(ENCODINGS)),
    request_id=st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=50),
)
def test_a_body_is_split_into_its_json_and_its_binary_data(
    binary: bytes, encoding: str, request_id: str | None
) -> None:
    head = json.dumps({"inputs": [TENSOR], "id": request_id}).encode()
    coding, coded = ENCODINGS[encoding]
    body = parse_body(coded(head + binary), coding, str(len(head)), MOST, 50, str)
    assert body.request is not None
    assert body.request.id == request_id
    assert bytes(body.binary) == binary
    assert parse_body(coded(head), coding, None, MOST, 50, str) == InferBody(body.request, memoryview(b""))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_with_a_json_length_of_0_the_body_is_only_binary_data(encoding: str) -> None:
    coding, coded = ENCODINGS[encoding]
    body = parse_body(coded(b"784 grey levels"), coding, "0", MOST, 50, str)
    assert (body.request, bytes(body.binary)) == (None, b"784 grey levels")


@pytest.mark.parametrize(
    "length",
    ["", " ", "-1", "+5", "1.0", "0x5", "1e2", "5, 5", "many", "٣", "²", "9" * 18, "9" * 5_000, str(len(HEAD) + 1)],
)
def test_a_header_that_is_not_a_length_within_the_body_is_refused(length: str) -> None:
    error = refused(HEAD, header_length=length)
    assert isinstance(error, MalformedError)
    assert error.errors[0].field == "inference-header-content-length"
    assert error.errors[0].value is not None
    assert len(error.errors[0].value) < 100


@given(length=st.integers(1, len(HEAD) - 1))
def test_a_json_length_that_is_too_short_is_refused(length: int) -> None:
    error = refused(HEAD, header_length=str(length))
    assert isinstance(error, MalformedError)
    assert "JSON" in str(error)


@settings(deadline=None)
@given(
    content=st.binary(max_size=500)
    | st.tuples(st.sampled_from(list(CODERS.values())), st.binary(max_size=200), st.binary(max_size=9)).map(
        lambda parts: parts[0](parts[1]) + parts[2]
    ),
    encoding=st.sampled_from(["", "gzip", "deflate", "identity", "br", "gzip, deflate"]) | st.text(max_size=9),
    header_length=st.none() | st.integers(-5, 600).map(str) | st.text(max_size=5),
)
def test_any_bytes_are_parsed_or_refused(content: bytes, encoding: str, header_length: str | None) -> None:
    body = outcome(lambda: parse_body(content, encoding, header_length, MOST, 50, str))
    if isinstance(body, InferBody):
        assert body.request is not None or header_length is not None
    else:
        assert type(body) in {MalformedError, InvalidError, UnsupportedMediaTypeError}


# Decompression.


@pytest.mark.parametrize("encoding", CODERS)
@given(end=st.floats(0, 1, exclude_max=True))
def test_a_stream_that_ends_too_early_is_refused(encoding: str, end: float) -> None:
    content = CODERS[encoding](HEAD * 20)
    cut = content[: 1 + int(end * (len(content) - 1))]
    assert isinstance(refused(cut, encoding), MalformedError)


@pytest.mark.parametrize("encoding", CODERS)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_damaged_stream_is_refused_or_has_its_original_content(encoding: str, place: float, bit: int) -> None:
    """Some bits of gzip's header, such as those of its time, do not affect the content."""
    content = bytearray(CODERS[encoding](HEAD))
    content[int(place * len(content))] ^= 1 << bit
    result = outcome(lambda: decompress(bytes(content), encoding, MOST))
    assert result == HEAD or isinstance(result, MalformedError)


@pytest.mark.parametrize("encoding", CODERS)
def test_bytes_after_the_end_of_a_stream_are_refused(encoding: str) -> None:
    for rest in (b"x", b"{}", HEAD, CODERS[encoding](b"")[:-1]):
        error = refused(CODERS[encoding](HEAD) + rest, encoding)
        assert isinstance(error, MalformedError)
        assert "cannot be decompressed" in str(error)


def test_a_body_with_the_wrong_content_encoding_is_refused() -> None:
    raw = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    bodies = {
        "gzip": [HEAD, zlib.compress(HEAD), gzip.compress(HEAD)[:5]],
        "deflate": [HEAD, b"", gzip.compress(HEAD), raw.compress(HEAD) + raw.flush()],
    }
    for encoding, contents in bodies.items():
        for content in contents:
            assert isinstance(refused(content, encoding), MalformedError)


def test_a_body_that_is_compressed_twice_is_decompressed_once() -> None:
    assert isinstance(refused(gzip.compress(gzip.compress(HEAD)), "gzip"), MalformedError)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, deflate", "gzip, gzip", "x" * 5_000])
def test_an_unsupported_encoding_is_refused_with_the_supported_ones(encoding: str) -> None:
    error = refused(HEAD, encoding)
    assert isinstance(error, UnsupportedMediaTypeError)
    assert error.errors[0].message == "must be one of gzip, deflate, identity"
    assert error.errors[0].value == (encoding if len(encoding) < 64 else "x" * 64 + "…")


@pytest.mark.parametrize("encoding", CODERS)
def test_a_body_may_be_as_long_as_the_limit_after_decompression(encoding: str) -> None:
    assert len(decompress(CODERS[encoding](bytes(MOST)), encoding, MOST)) == MOST
    with pytest.raises(TooLargeError, match="at most 20,000 bytes after decompression"):
        decompress(CODERS[encoding](bytes(MOST + 1)), encoding, MOST)


MEBIBYTE = bytes(2**20)
BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "gzip": ("gzip", lambda: gzip.compress(64 * MEBIBYTE)),
    "deflate": ("deflate", lambda: zlib.compress(64 * MEBIBYTE)),
    "gzip of many members": ("gzip", lambda: gzip.compress(MEBIBYTE) * 64),
    "a decompression bomb followed by other bytes": ("deflate", lambda: zlib.compress(64 * MEBIBYTE) + b"nonsense"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_decompression_bomb_is_refused_without_storing_its_content(bomb: str) -> None:
    encoding, make = BOMBS[bomb]
    content = make()
    tracemalloc.start()
    try:
        assert isinstance(refused(content, encoding), TooLargeError)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


# The JSON.

UNREADABLE = {
    "nothing": b"",
    "half of it": HEAD[: len(HEAD) // 2],
    "deep nesting": b"[" * 1_000,
    "deep nesting in a field": b'{"inputs": ' + b'{"a":' * 500,
    "an integer of thousands of digits": with_id("9" * 5_000),
    "a lone surrogate": with_id(r'"\ud800"'),
    "half a pair of surrogates": with_id(r'"\udc00\ud83d"'),
    "bytes that are not UTF-8": with_id('"') + b"\xff",
    "two values": HEAD + HEAD,
}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_content_that_is_not_json_is_refused(content: bytes) -> None:
    error = refused(content)
    assert isinstance(error, MalformedError)
    assert error.errors[0].message.startswith("is not JSON: ")


MISSHAPEN: dict[str, tuple[bytes, str]] = {
    # case: (the JSON, the field in the error)
    "a list": (b"[]", "body"),
    "a number": (b"1", "body"),
    "no inputs": (b"{}", "inputs"),
    "an empty list of inputs": (b'{"inputs": []}', "inputs"),
    "too many inputs": (b'{"inputs": [%s]}' % b",".join([json.dumps(TENSOR).encode()] * 17), "inputs"),
    "an id that is a number": (with_id("7"), "id"),
    "an id that is a very long number": (with_id("9" * 4_000), "id"),
    "an id that is a list": (with_id("[]"), "id"),
    "parameters that are a list": (b'{"parameters": [], %s' % HEAD[1:], "parameters"),
    "a parameter that is misspelt": (b'{"parameters": {"tolerence": 1}, %s' % HEAD[1:], "parameters.tolerence"),
    "a priority of the other protocol": (b'{"parameters": {"priority": "high"}, %s' % HEAD[1:], "parameters.priority"),
    "a priority too low": (b'{"parameters": {"priority": 4}, %s' % HEAD[1:], "parameters.priority"),
    "a timeout too short": (b'{"parameters": {"timeout": 999}, %s' % HEAD[1:], "parameters.timeout"),
    "an output without a name": (b'{"outputs": [{}], %s' % HEAD[1:], "outputs.0.name"),
    "no classes": (
        b'{"outputs": [{"name": "probabilities", "parameters": {"classification": 0}}], %s' % HEAD[1:],
        "outputs.0.parameters.classification",
    ),
}


@pytest.mark.parametrize("case", MISSHAPEN.values(), ids=MISSHAPEN.keys())
def test_a_field_of_the_wrong_shape_is_refused_with_its_name(case: tuple[bytes, str]) -> None:
    content, field = case
    error = refused(content)
    assert isinstance(error, InvalidError)
    assert error.errors[0].field == field
    assert len(str(error)) < 1_000


SHAPES: list[Any] = [[-1, 28, 28], [1.5], ["1"], [True], [None], [1] * 9, 28, None, {}, [-(10**400)]]
SIZES: list[Any] = [-1, 1.0, "1", True, [1], {}, -(10**400)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("datatype", 8), ("datatype", None), ("name", None), ("name", ["image"]), ("parameters", [])]
    + [("shape", shape) for shape in SHAPES]
    + [("parameters", {"binary_data_size": size}) for size in SIZES],
)
def test_a_tensor_of_the_wrong_shape_is_refused(field: str, value: Any) -> None:
    error = refused(json.dumps({"inputs": [TENSOR | {field: value}]}).encode())
    assert isinstance(error, InvalidError)
    assert error.errors[0].field.startswith(f"inputs.0.{field}")
    assert len(str(error)) < 1_000


def test_the_last_value_of_a_repeated_field_counts() -> None:
    content = b'{"id": "a", "inputs": [], "id": "b", %s' % HEAD[1:]
    request = read_json(content, InferRequest)
    assert (request.id, [tensor.name for tensor in request.inputs]) == ("b", ["image"])
    tensor = b'{"name": "image", "shape": [1], "datatype": "BYTES", "parameters": %s}'
    sizes = tensor % b'{"binary_data_size": 1, "binary_data_size": 2}'
    (read,) = read_json(b'{"inputs": [%s]}' % sizes, InferRequest).inputs
    assert read.parameters.binary_data_size == 2


def test_unknown_keys_are_ignored() -> None:
    tensor = {**TENSOR, "layout": "NHW", "parameters": {"shared_memory_region": "r", "binary_data_size": 3}}
    content = json.dumps({"inputs": [tensor], "model_name": "m", "outputs": [{"name": "digit", "x": 1}]}).encode()
    (read,) = read_json(content, InferRequest).inputs
    assert read.parameters.binary_data_size == 3


def test_a_long_id_is_kept() -> None:
    assert read_json(with_id(json.dumps("é" * 5_000)), InferRequest).id == "é" * 5_000


@pytest.mark.parametrize("model", [InferRequest, LoadRequest])
def test_too_many_parameters_are_refused_with_one_error(model: type[Any]) -> None:
    document = {"parameters": dict.fromkeys(map(str, range(MOST_PARAMETERS + 1)), 0), "inputs": [TENSOR]}
    with pytest.raises(InvalidError, match="parameters: at most 64 parameters") as caught:
        read_json(json.dumps(document).encode(), model)
    assert len(caught.value.errors) == 1
