"""Messages with too many fields are refused before they are parsed."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import ModelInferRequest

from service.errors import TooLargeError
from service.rpc import parsing
from service.rpc.parsing import Limits, parser
from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.infer_messages import message
from tests.service.rpc.test_messages import odd_messages

MOST = 100
FEW, MANY = Limits(MOST, 10_000), Limits(10_000, 200_000)


@pytest.fixture(autouse=True, scope="module")
def every_message_is_long() -> Iterator[None]:
    """Count the fields of short messages too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "SHORT_BYTES", -1)
        yield


@given(odd_messages())
def test_a_message_with_few_fields_is_parsed(request: ModelInferRequest) -> None:
    assert parser(ModelInferRequest, MANY)(request.SerializeToString()) == request


@given(st.binary(max_size=100))
def test_any_bytes_are_parsed_as_protobuf_does_or_refused(content: bytes) -> None:
    try:
        parsed = parser(ModelInferRequest, FEW)(content)
    except DecodeError:
        return
    assert parsed == ModelInferRequest.FromString(content)


@pytest.mark.parametrize("typed", [False, True])
def test_the_values_of_a_tensor_are_one_field(typed: bool) -> None:
    request = message(DIGITS[:50], typed=typed)
    assert parser(ModelInferRequest, Limits(20, 50 * 784 + 9))(request.SerializeToString()) == request


def test_fields_count_wherever_they_are() -> None:
    inputs, parameters, pictures = ModelInferRequest(), message(), message()
    for number in range(MOST):
        inputs.inputs.add()
        parameters.inputs[0].parameters[str(number)].bool_param = True
        pictures.inputs[0].contents.bytes_contents.append(b"")
    for request in (inputs, parameters, pictures):
        content = request.SerializeToString()
        assert parser(ModelInferRequest, MANY)(content) == request
        with pytest.raises(TooLargeError, match=r"message: at most 99 fields"):
            parser(ModelInferRequest, Limits(MOST - 1, 10_000))(content)


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_the_numbers_of_packed_lists_are_counted(datatype: str) -> None:
    request = message(DIGITS[:2], datatype, typed=True)
    request.inputs[0].contents.uint_contents.extend([300, 2**32 - 1])  # numbers of several bytes
    request.inputs[0].contents.fp64_contents.append(0.5)
    content, numbers = request.SerializeToString(), 2 * 784 + 2 + 1 + len(request.inputs[0].shape)
    assert parser(ModelInferRequest, Limits(MOST, numbers))(content) == request
    with pytest.raises(TooLargeError, match=f"message: at most {numbers - 1:,} numbers"):
        parser(ModelInferRequest, Limits(MOST, numbers - 1))(content)


def test_the_limits_leave_room_for_the_pixels_of_all_images() -> None:
    request = message(DIGITS[:50], typed=True)
    assert parser(ModelInferRequest, Limits.of(50))(request.SerializeToString()) == request
