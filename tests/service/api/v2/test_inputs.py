"""The tensors of a request become images."""

import base64
import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.api.v2.body import parse_body
from service.api.v2.inputs import raw_input, read_images
from service.errors import InvalidError, MalformedError, RequestError, TooLargeError
from service.inference.background import finish
from service.open_inference.request import InputTensor
from service.settings import Settings
from tests.digits import encoded
from tests.service.api.v2.infer_requests import DIGITS, ENCODINGS, joined, outcome, tensor

SETTINGS = Settings(max_images=50, max_pixels=1_000_000)
NO_MORE = memoryview(b"")
GREY_LEVELS = arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(28), st.just(28)))
SEVEN = encoded(DIGITS[0])


def read(head: dict[str, Any], binary: bytes = b"") -> npt.NDArray[np.uint8]:
    return finish(read_images([InputTensor.model_validate(head)], memoryview(binary), SETTINGS))


def refused(head: dict[str, Any], binary: bytes = b"") -> RequestError:
    with pytest.raises(RequestError) as caught:
        read(head, binary)
    return caught.value


def picture_tensor(rows: int, size: int) -> dict[str, Any]:
    """The head of a tensor of BYTES in binary form."""
    return {"name": "image", "datatype": "BYTES", "shape": [rows], "parameters": {"binary_data_size": size}}


# Valid tensors.


@settings(deadline=None)
@given(
    images=GREY_LEVELS,
    datatype=st.sampled_from(["UINT8", "FP32"]),
    binary=st.booleans(),
    encoding=st.sampled_from(sorted(ENCODINGS)),
)
def test_grey_levels_are_the_same_in_every_form(
    images: npt.NDArray[np.uint8], datatype: str, binary: bool, encoding: str
) -> None:
    head, content = tensor(images, datatype, binary=binary)
    json_bytes = json.dumps({"inputs": [head]}).encode()
    coding, coded = ENCODINGS[encoding]
    body = parse_body(coded(json_bytes + content), coding, str(len(json_bytes)) if binary else None, 10**6, 50, str)
    assert body.request is not None
    np.testing.assert_array_equal(finish(read_images(body.request.inputs, body.binary, SETTINGS)), images)


@settings(deadline=None)
@given(values=arrays("<f4", (1, 28, 28), elements=st.floats(0, 1, width=32)))
def test_a_float_is_rounded_equally_in_json_and_in_binary_form(values: npt.NDArray[np.float32]) -> None:
    head = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28]}
    by_json = read(head | {"data": values.ravel().tolist()})
    by_bytes = read(head | {"parameters": {"binary_data_size": values.nbytes}}, values.tobytes())
    np.testing.assert_array_equal(by_json, by_bytes)
    np.testing.assert_array_less(np.abs(by_json - values.astype(np.float64) * 255), 0.5 + 1e-9)


def test_a_float_near_the_middle_of_two_levels_is_rounded_by_its_exact_value() -> None:
    between = np.full((1, 28, 28), np.nextafter(np.float32(0.5 / 255), np.float32(1)), np.float32)
    head = {"name": "image", "datatype": "FP32", "shape": [1, 28, 28]}
    level = round(float(between[0, 0, 0]) * 255)
    for data in (
        read(head | {"data": between.ravel().tolist()}),
        read(head | {"parameters": {"binary_data_size": between.nbytes}}, between.tobytes()),
    ):
        assert (data == level).all()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("shape", [[3], [3, 1]])
def test_pictures_are_decoded(binary: bool, shape: list[int]) -> None:
    head, content = tensor(DIGITS[:3], "BYTES", binary=binary)
    np.testing.assert_array_equal(read(head | {"shape": shape}, content), DIGITS[:3])


def test_pictures_in_json_may_be_nested_and_may_be_data_urls() -> None:
    text = base64.b64encode(SEVEN).decode()
    head = {"name": "image", "datatype": "BYTES", "shape": [2, 1]}
    read_back = read(head | {"data": [[text], [f"data:image/png;base64,{text}"]]})
    np.testing.assert_array_equal(read_back, DIGITS[[0, 0]])


def test_a_jpeg_is_a_picture_too() -> None:
    content = joined([encoded(DIGITS[0], "JPEG", quality=100)])
    difference = np.abs(read(picture_tensor(1, len(content)), content).astype(int) - DIGITS[:1])
    assert difference.max() < 10


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_data_may_be_nested_like_the_shape(datatype: str) -> None:
    head, _ = tensor(DIGITS[:2], datatype)
    nested = np.reshape(head["data"], (2, 28, 28)).tolist()
    np.testing.assert_array_equal(read(head | {"data": nested}), DIGITS[:2])


def test_the_length_of_a_raw_body_gives_the_number_of_images() -> None:
    content = memoryview(DIGITS[:4].tobytes())
    np.testing.assert_array_equal(finish(read_images([raw_input(content)], content, SETTINGS)), DIGITS[:4])


@pytest.mark.parametrize("size", [0, 1, 783, 785, 784 * 50 + 1])
def test_a_raw_body_must_hold_whole_images(size: int) -> None:
    content = memoryview(bytes(size))
    with pytest.raises(RequestError, match=r"inputs\.0\.(shape|parameters\.binary_data_size)"):
        finish(read_images([raw_input(content)], content, SETTINGS))


# Invalid tensors.

HEAD = {"name": "image", "datatype": "UINT8", "shape": [1, 28, 28]}
FLAT = [0] * 784
IMAGE = bytes(784)


def sized(size: int) -> dict[str, Any]:
    return {"parameters": {"binary_data_size": size}}


CASES: dict[str, tuple[dict[str, Any], bytes, type[RequestError], str, str]] = {
    # case: (the changed fields, the bytes, the error, the field in the error, a part of the message or of the value)
    "another name": ({"name": "images", "data": FLAT}, b"", InvalidError, "inputs", "with the name image"),
    "no data": ({}, b"", InvalidError, "inputs.0", "neither data nor"),
    "data twice": ({"data": FLAT, **sized(784)}, IMAGE, InvalidError, "inputs.0", "has both data and"),
    "another datatype": ({"datatype": "INT8", "data": FLAT}, b"", InvalidError, "inputs.0.datatype", "UINT8, FP32"),
    "a long datatype": ({"datatype": "A" * 999, "data": FLAT}, b"", InvalidError, "inputs.0.datatype", "BYTES"),
    "no shape": ({"shape": [], "data": []}, b"", InvalidError, "inputs.0.shape", "[-1, 28, 28]"),
    "one image without its dimension": ({"shape": [28, 28], "data": FLAT}, b"", InvalidError, "inputs.0.shape", "-1"),
    "a channel": ({"shape": [1, 1, 28, 28], "data": FLAT}, b"", InvalidError, "inputs.0.shape", "[-1, 28, 28]"),
    "no rows": ({"shape": [0, 28, 28], "data": []}, b"", InvalidError, "inputs.0.shape", "at least one image"),
    "no rows in binary form": ({"shape": [0, 28, 28], **sized(0)}, b"", InvalidError, "inputs.0.shape", "at least"),
    "no pictures": ({"datatype": "BYTES", "shape": [0], "data": []}, b"", InvalidError, "inputs.0.shape", "at least"),
    "too many rows": ({"shape": [51, 28, 28], "data": []}, b"", TooLargeError, "inputs.0.shape", "at most 50"),
    "2**64 rows": ({"shape": [2**64, 28, 28], **sized(0)}, b"", TooLargeError, "inputs.0.shape", "at most 50"),
    "10**400 rows": ({"shape": [10**400, 28, 28], "data": []}, b"", TooLargeError, "inputs.0.shape", "at most 50"),
    "a product of 2**64": ({"shape": [2**32, 2**32, 1], **sized(0)}, b"", InvalidError, "inputs.0.shape", "28"),
    "too few numbers": ({"data": FLAT[:-1]}, b"", InvalidError, "inputs.0.data", "784 numbers"),
    "too many numbers": ({"data": [*FLAT, 0]}, b"", InvalidError, "inputs.0.data", "784 numbers"),
    "no list": ({"data": "7"}, b"", InvalidError, "inputs.0.data", "784 numbers"),
    "ragged lists": ({"data": [[FLAT[:28]] * 27 + [[0]]]}, b"", InvalidError, "inputs.0.data", "784 numbers"),
    "a text among them": ({"data": [*FLAT[1:], "0"]}, b"", InvalidError, "inputs.0.data", "784 numbers"),
    "too bright": ({"data": [*FLAT[1:], 256]}, b"", InvalidError, "inputs.0.data", "0 to 255"),
    "a fraction": ({"data": [0.5, *FLAT[1:]]}, b"", InvalidError, "inputs.0.data", "0 to 255"),
    "too few bytes": (sized(783), IMAGE[1:], InvalidError, "inputs.0.parameters.binary_data_size", "must be 784"),
    "too many bytes": (sized(785), bytes(785), InvalidError, "inputs.0.parameters.binary_data_size", "must be 784"),
    "fewer bytes than declared": (
        sized(784),
        b"7",
        InvalidError,
        "inputs.0.parameters.binary_data_size",
        "must be 1, the number of bytes after the JSON",
    ),
    "more bytes than declared": (sized(784), bytes(785), InvalidError, "inputs.0.parameters.binary_data_size", "785"),
    "10**400 bytes": (sized(10**400), IMAGE, InvalidError, "inputs.0.parameters.binary_data_size", "784"),
    "bytes that no parameter mentions": (
        {"data": FLAT},
        b"7",
        InvalidError,
        "inputs.0.parameters.binary_data_size",
        "must be 1, the number of bytes after the JSON",
    ),
    "bytes for floats": ({"datatype": "FP32", **sized(784)}, IMAGE, InvalidError, "inputs.0.parameters", "3,136"),
    "a float too bright": ({"datatype": "FP32", "data": [1.01, *FLAT[1:]]}, b"", InvalidError, "inputs.0.data", "1.01"),
    "pictures as numbers": ({"datatype": "BYTES", "shape": [1], "data": [7]}, b"", InvalidError, "inputs.0.data", "1"),
    "fewer pictures": ({"datatype": "BYTES", "shape": [2], "data": ["AA=="]}, b"", InvalidError, "inputs.0.data", "2"),
    "no base64": ({"datatype": "BYTES", "shape": [1], "data": ["#"]}, b"", MalformedError, "inputs.0.data.0", "base64"),
    "no picture": ({"datatype": "BYTES", "shape": [1], "data": ["AAAA"]}, b"", MalformedError, "inputs.0.data.0", "P"),
    "an empty text": ({"datatype": "BYTES", "shape": [1], "data": [""]}, b"", MalformedError, "inputs.0.data.0", "PNG"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_an_invalid_tensor_is_refused_with_the_field(
    case: tuple[dict[str, Any], bytes, type[RequestError], str, str],
) -> None:
    changes, binary, kind, field, text = case
    error = refused(HEAD | changes, binary)
    assert type(error) is kind
    assert error.errors[0].field.startswith(field)
    assert text in f"{error.errors[0].message} {error.errors[0].value}"
    assert len(str(error)) < 1_000


def test_a_request_must_have_exactly_one_input() -> None:
    image = InputTensor.model_validate(HEAD | {"data": FLAT})
    for inputs in ([], [image, image], [image, image.model_copy(update={"name": "mask"})]):
        with pytest.raises(InvalidError, match="inputs: must be one tensor with the name image"):
            finish(read_images(inputs, NO_MORE, SETTINGS))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-45, np.float32(1.0000001), 3.4e38])
def test_a_float_outside_0_to_1_is_refused_with_its_index(value: float) -> None:
    values = np.zeros((1, 28, 28), "<f4")
    values[0, 3, 5] = value
    head = HEAD | {"datatype": "FP32"}
    for error in (
        refused(head | sized(values.nbytes), values.tobytes()),
        refused(head | {"data": values.ravel().tolist()}),
    ):
        assert isinstance(error, InvalidError)
        assert "must hold numbers from 0 to 1" in str(error)
        assert str(error.errors[0].value).endswith("at (0, 3, 5)")


@settings(deadline=None)
@given(values=arrays("<f4", (1, 28, 28), elements=st.floats(width=32), fill=st.just(0)))
def test_any_floats_are_converted_or_refused(values: npt.NDArray[np.float32]) -> None:
    result = outcome(lambda: read(HEAD | {"datatype": "FP32"} | sized(values.nbytes), values.tobytes()))
    if ((values >= 0) & (values <= 1)).all():
        np.testing.assert_array_equal(result, np.rint(values.astype(np.float64) * 255))
    else:
        assert isinstance(result, InvalidError)


# Elements of BYTES.

WHOLE = joined([SEVEN, encoded(DIGITS[1])])


@given(end=st.integers(0, len(WHOLE) - 1))
def test_elements_that_end_too_early_are_refused(end: int) -> None:
    error = refused(picture_tensor(2, end), WHOLE[:end])
    assert isinstance(error, InvalidError)
    assert "ends before element" in str(error) or "declares a length of" in str(error)


@given(rest=st.binary(min_size=1, max_size=9))
def test_bytes_after_the_last_element_are_refused(rest: bytes) -> None:
    error = refused(picture_tensor(2, len(WHOLE + rest)), WHOLE + rest)
    assert isinstance(error, InvalidError)
    assert f"has {len(rest)} bytes after element 1, the last element" in str(error)


@pytest.mark.parametrize(
    ("length", "kind", "text"),
    [
        (0, MalformedError, "inputs.0.data.0"),
        (len(SEVEN) - 1, InvalidError, "has 1 bytes after element 0, the last element"),
        (len(SEVEN) + 1, InvalidError, f"{len(SEVEN):,} bytes are left"),
        (2**31, InvalidError, "declares a length of 2,147,483,648 bytes"),
        (2**32 - 1, InvalidError, "declares a length of 4,294,967,295 bytes"),
    ],
)
def test_an_element_with_a_wrong_declared_length_is_refused(length: int, kind: type[RequestError], text: str) -> None:
    content = struct.pack("<I", length) + SEVEN
    error = refused(picture_tensor(1, len(content)), content)
    assert type(error) is kind
    assert text in str(error)


@settings(deadline=None)
@given(
    content=st.binary(max_size=300)
    | st.lists(st.binary(max_size=40) | st.just(SEVEN), max_size=4).map(joined)
    | st.builds(lambda length, rest: struct.pack("<I", length) + rest, st.integers(0, 2**32 - 1), st.binary()),
    rows=st.integers(0, 5),
)
def test_any_elements_are_decoded_or_refused(content: bytes, rows: int) -> None:
    result = outcome(lambda: read(picture_tensor(rows, len(content)), content))
    if isinstance(result, RequestError):
        assert type(result) in {InvalidError, MalformedError}
        assert result.errors[0].field.startswith("inputs.0.")
    else:
        assert content == joined([SEVEN] * rows)
        np.testing.assert_array_equal(result, DIGITS[[0] * rows])
