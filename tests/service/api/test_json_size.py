"""The size of JSON is limited before it is parsed: its values, its other parts, and the lengths of its numbers."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from service.api.documents import LEAST_PARTS, LEAST_VALUES, read_document
from service.errors import TooLargeError
from tests.digits import load_test_set

IMAGES = 256
FULL = load_test_set()[0][:IMAGES]


@pytest.mark.parametrize("nested", [True, False], ids=["rows", "flat"])
@pytest.mark.parametrize("indent", [None, 2], ids=["compact", "indented"])
def test_as_many_images_as_a_request_may_have_are_read(nested: bool, indent: int | None) -> None:
    document = {"images": (FULL if nested else FULL.reshape(IMAGES, -1) / 3).tolist(), "tolerance": 0.1}
    assert read_document(json.dumps(document, indent=indent).encode(), IMAGES) == document


def test_as_many_pictures_as_a_request_may_have_are_read() -> None:
    document = {"images": ["data:image/png;base64," + "A" * 30_000] * IMAGES}
    assert read_document(json.dumps(document).encode(), IMAGES) == document


def test_a_long_text_with_any_characters_is_read() -> None:
    document = {"id": "9" * 10**5}
    assert read_document(json.dumps(document).encode()) == document


TOO_LARGE: dict[str, tuple[bytes, str]] = {
    "values": (b'{"a":[%s0]}' % (b"0," * 1_001), "at most 1,000 values, by the number of ,"),
    "names": (b'{"a":0%s}' % b"".join(b',"%d":0' % each for each in range(900)), "at most 2,000 lists, objects, names"),
    "lists": (b'{"a":%s}' % (b"[" * 2_001), "at most 2,000 lists, objects, names and texts"),
    "a long number": (b'{"a":[1%s]}' % (b"0" * 20_000), "at most 16,704 bytes outside of texts, which is 64 for each"),
    "white space": (b'{"a":0%s}' % (b" " * 20_000), "at most 16,640 bytes outside of texts"),
}


@pytest.mark.parametrize(("content", "message"), TOO_LARGE.values(), ids=TOO_LARGE.keys())
def test_json_without_images_that_is_too_large_is_refused_with_the_limit(content: bytes, message: str) -> None:
    with pytest.raises(TooLargeError, match=f"body: {message}"):
        read_document(content)


def test_the_limit_outside_of_texts_is_the_sum_that_the_refusal_names() -> None:
    limit = "at most 16,640 bytes outside of texts, which is 64 for each value and part, and 16,384 more"
    with pytest.raises(TooLargeError, match=f"body: {limit}") as caught:
        read_document(b'{"a":0%s}' % (b" " * 20_000))
    assert caught.value.errors[0].value == "20,004 bytes"


def test_each_image_adds_to_the_limits() -> None:
    content = b'{"a":[%s0]}' % (b"0," * (LEAST_VALUES + 784))
    assert len(read_document(content, 1)["a"]) == LEAST_VALUES + 785
    with pytest.raises(TooLargeError) as caught:
        read_document(content, 0)
    assert caught.value.errors[0].value == f"{LEAST_VALUES + 784:,}"


documents: Any = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=400) | st.dictionaries(st.text(max_size=3), inner, max_size=30),
)


def nodes(value: Any) -> int:
    """The number of values, names, lists and objects."""
    inner = [] if not isinstance(value, dict | list) else value.values() if isinstance(value, dict) else value
    names = len(value) if isinstance(value, dict) else 0
    return 1 + names + sum(map(nodes, inner))


@given(document=st.dictionaries(st.text(max_size=3), documents, max_size=5), repeat=st.integers(1, 400))
def test_a_document_that_is_read_has_at_most_as_many_nodes_as_the_limits_allow(document: Any, repeat: int) -> None:
    content = json.dumps({"a": [document] * repeat}).encode()
    try:
        read = read_document(content)
    except TooLargeError:
        return
    assert read == from_json(content)
    assert nodes(read) <= 2 * (LEAST_VALUES + LEAST_PARTS)
