"""Messages with too many fields are refused before they are parsed."""

from collections.abc import Iterator

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc.service_pb2 import ModelInferRequest

from service.errors import TooLargeError
from service.rpc import parsing
from service.rpc.parsing import parser
from tests.service.api.v2.infer_requests import DIGITS
from tests.service.rpc.infer_messages import message
from tests.service.rpc.test_messages import odd_messages

MOST = 100


@pytest.fixture(autouse=True, scope="module")
def every_message_is_long() -> Iterator[None]:
    """Count the fields of short messages too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parsing, "SHORT_BYTES", -1)
        yield


@given(odd_messages())
def test_a_message_with_few_fields_is_parsed(request: ModelInferRequest) -> None:
    assert parser(ModelInferRequest, 10_000)(request.SerializeToString()) == request


@given(st.binary(max_size=100))
def test_any_bytes_are_parsed_as_protobuf_does_or_refused(content: bytes) -> None:
    try:
        parsed = parser(ModelInferRequest, MOST)(content)
    except DecodeError:
        return
    assert parsed == ModelInferRequest.FromString(content)


@pytest.mark.parametrize("typed", [False, True])
def test_the_values_of_a_tensor_are_one_field(typed: bool) -> None:
    request = message(DIGITS[:50], typed=typed)
    assert parser(ModelInferRequest, 20)(request.SerializeToString()) == request


def test_fields_count_wherever_they_are() -> None:
    inputs, parameters, pictures = ModelInferRequest(), message(), message()
    for number in range(MOST):
        inputs.inputs.add()
        parameters.inputs[0].parameters[str(number)].bool_param = True
        pictures.inputs[0].contents.bytes_contents.append(b"")
    for request in (inputs, parameters, pictures):
        content = request.SerializeToString()
        assert parser(ModelInferRequest, 5 * MOST)(content) == request
        with pytest.raises(TooLargeError, match=r"message: at most 99 fields"):
            parser(ModelInferRequest, MOST - 1)(content)
