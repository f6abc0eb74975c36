"""Each error of a request has a gRPC status, with the words of REST."""

import sys

import pytest
from grpc import StatusCode

from service import errors
from service.errors import FieldError, InvalidError, OverloadedError, RequestError, UnsupportedMediaTypeError
from service.rpc.extra import check_installed
from service.rpc.status import CODES, Status

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RequestError)]


def test_every_error_but_those_of_http_has_a_code() -> None:
    assert set(KINDS) - {RequestError, UnsupportedMediaTypeError} == set(CODES)


def test_the_detail_names_the_field_the_limit_and_the_value() -> None:
    error = InvalidError(FieldError("steps", "at most 9", "10"), FieldError("rtol", "is no number"))
    assert Status.of(error) == Status(StatusCode.INVALID_ARGUMENT, "steps: at most 9; it is 10; rtol: is no number")


def test_an_overloaded_service_says_when_to_retry() -> None:
    status = Status.of(OverloadedError(FieldError("queue", "is full"), retry_after=3))
    assert (status.code, status.retry_after) == (StatusCode.RESOURCE_EXHAUSTED, 3)


@pytest.mark.parametrize("package", ["grpc", "grpc_health", "grpc_reflection", "tritonclient"])
def test_a_missing_package_is_named_with_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_installed()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ValueError, match=rf"grpc_port: .* pip install '\.\[grpc\]' \(missing: {package}\)"):
        check_installed()
