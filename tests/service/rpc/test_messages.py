"""The messages of requests become images, and answers become messages."""

from copy import deepcopy

import numpy as np
import numpy.typing as npt
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tritonclient.grpc.service_pb2 import InferParameter, ModelInferRequest

from service.errors import InvalidError, RequestError, TooLargeError
from service.inference.background import finish
from service.rpc.messages import Parts, read_images, read_parameters, read_request
from service.settings import Settings
from tests.digits import encoded
from tests.examples import examples
from tests.service.api.v2.infer_requests import DIGITS, joined, outcome
from tests.service.rpc.infer_messages import message, parameter

SETTINGS = Settings(max_images=50, max_pixels=1_000_000)
GREY_LEVELS = arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(28), st.just(28)))
NAMES = st.sampled_from(["image", "tolerance", "priority", "classification", "binary_data", ""]) | st.text(max_size=8)
PARAMETERS = st.dictionaries(
    NAMES,
    st.one_of(
        st.just(InferParameter()),
        st.booleans().map(parameter),
        st.integers(-(2**63), 2**63 - 1).map(parameter),
        st.floats().map(parameter),
        st.text(max_size=8).map(parameter),
    ),
    max_size=4,
)


def read(request: ModelInferRequest) -> npt.NDArray[np.uint8]:
    parts = Parts.of(deepcopy(request))
    return finish(read_images(parts, read_request(parts).inputs, SETTINGS))


@settings(deadline=None)
@given(images=GREY_LEVELS, datatype=st.sampled_from(["UINT8", "FP32"]), typed=st.booleans())
def test_grey_levels_are_the_same_in_every_form(images: npt.NDArray[np.uint8], datatype: str, typed: bool) -> None:
    np.testing.assert_array_equal(read(message(images, datatype, typed=typed)), images)


def test_requests_that_differ_only_in_their_id_and_raw_values_share_their_fields() -> None:
    first, second = (Parts.of(message(DIGITS[[row]], id=str(row), parameters={"steps": 3})) for row in (0, 1))
    request = read_request(first)
    assert read_request(second) is request
    assert (first.id, second.id) == ("0", "1")
    for row, parts in enumerate((first, second)):
        np.testing.assert_array_equal(finish(read_images(parts, request.inputs, SETTINGS))[0], DIGITS[row])


@pytest.mark.parametrize("typed", [False, True])
def test_pictures_are_decoded(typed: bool) -> None:
    np.testing.assert_array_equal(read(message(DIGITS[:3], "BYTES", typed=typed)), DIGITS[:3])


@given(values=st.dictionaries(st.text(max_size=5), st.booleans() | st.integers(-9, 9) | st.floats(-1, 1) | st.text()))
def test_a_parameter_keeps_its_value_and_its_type(values: dict[str, bool | int | float | str]) -> None:
    back = read_parameters({name: parameter(value) for name, value in values.items()})
    assert back == values
    assert [type(value) for value in back.values()] == [type(value) for value in values.values()]


def test_a_parameter_without_a_value_is_absent() -> None:
    assert read_parameters({"tolerance": InferParameter()}) == {}


def test_a_number_may_be_a_text_because_some_clients_send_no_fractions() -> None:
    assert read_request(Parts.of(message(parameters={"tolerance": "1e-4"}))).parameters.tolerance == 1e-4


@st.composite
def odd_messages(draw: st.DrawFn) -> ModelInferRequest:
    """Messages whose parts need not fit together."""
    request = ModelInferRequest(id=draw(st.text(max_size=3)), parameters=draw(PARAMETERS))
    for _ in range(draw(st.integers(0, 2))):
        tensor = request.inputs.add(name=draw(NAMES), parameters=draw(PARAMETERS))
        tensor.datatype = draw(st.sampled_from(["UINT8", "FP32", "BYTES", "INT64", ""]))
        tensor.shape.extend(draw(st.sampled_from([[1, 28, 28], [2, 28, 28], [1], [0], [-1], [], [2**62], [1] * 9])))
        for contents in draw(
            st.sets(st.sampled_from(["uint_contents", "fp32_contents", "bytes_contents"]), max_size=2)
        ):
            values: list[bytes] | list[int] = [encoded(DIGITS[0])] if contents == "bytes_contents" else [0, 1] * 392
            getattr(tensor.contents, contents).extend(values[: draw(st.integers(0, 784))])
    raw = st.sampled_from([bytes(784), DIGITS[:2].tobytes(), joined([encoded(DIGITS[0])]), b""]) | st.binary(max_size=9)
    request.raw_input_contents.extend(draw(st.lists(raw, max_size=2)))
    for _ in range(draw(st.integers(0, 2))):
        request.outputs.add(name=draw(NAMES), parameters=draw(PARAMETERS))
    return request


@examples(3)
@given(odd_messages())
def test_any_message_is_read_or_refused_with_the_reason(request: ModelInferRequest) -> None:
    result = outcome(lambda: read(request))
    if isinstance(result, RequestError):
        assert all(each.field and each.message for each in result.errors)
    else:
        assert result.shape == (request.inputs[0].shape[0], 28, 28)


@given(st.binary(max_size=200))
def test_any_bytes_are_no_message_or_are_read_or_refused(content: bytes) -> None:
    try:
        read(ModelInferRequest.FromString(content))
    except (DecodeError, RequestError):
        return
    raise AssertionError("so few bytes hold no image")


def test_the_number_of_images_is_limited() -> None:
    with pytest.raises(InvalidError, match=r"inputs\.0\.shape: must have at least one image"):
        read(message(DIGITS[:0]))
    with pytest.raises(TooLargeError, match=r"inputs\.0\.shape: at most 50 images"):
        read(message(DIGITS[:51]))


def test_the_number_of_bytes_must_fit_the_shape() -> None:
    request = message()
    request.raw_input_contents[0] = bytes(783)
    with pytest.raises(InvalidError, match=r"raw_input_contents\.0: must be 784 for UINT8 \[1, 28, 28\]"):
        read(request)


def test_the_values_must_be_given_exactly_once() -> None:
    both, neither, twice = message(typed=True), message(), message()
    both.raw_input_contents.append(bytes(784))
    neither.ClearField("raw_input_contents")
    twice.raw_input_contents.append(bytes(784))
    for request in (both, neither, twice):
        with pytest.raises(InvalidError, match=r"inputs\.0: needs its values once"):
            read(request)


def test_typed_contents_must_have_the_type_of_the_tensor() -> None:
    request = message(datatype="FP32", typed=True)
    request.inputs[0].datatype = "UINT8"
    with pytest.raises(InvalidError, match=r"inputs\.0\.contents: must be uint_contents for UINT8"):
        read(request)


def test_there_must_be_a_picture_for_each_row() -> None:
    request = message(DIGITS[:2], "BYTES", typed=True)
    request.inputs[0].shape[0] = 3
    with pytest.raises(InvalidError, match="must be 3 elements"):
        read(request)
