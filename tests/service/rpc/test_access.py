"""Which calls need which API key, TLS, and the time limit of a client."""

from collections.abc import Iterator
from threading import Event
from typing import Any, NamedTuple

import grpc
import pytest
import trustme
from grpc import StatusCode
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from benchmarks.serving.servers import free_port
from service.security.keys import Scope, make_key
from tests.service.rpc.infer_messages import message
from tests.serving import running
from tests.waiting import HANG

pytestmark = pytest.mark.system

SCOPES = {"predict": Scope.predict, "admin": Scope.admin, "slow": Scope.predict, "streaming": Scope.predict}
RATES = {"slow": 1, "streaming": 3}


class Guarded(NamedTuple):
    """A service with API keys and TLS: its address, a channel to it, and the keys by their names."""

    address: str
    channel: grpc.Channel
    keys: dict[str, str]

    def metadata(self, key: str) -> list[tuple[str, str]]:
        """The metadata with a key; empty without a key."""
        return [("authorization", f"Bearer {self.keys.get(key, key)}")] if key else []

    def call(self, method: str, request: Any, key: str = "") -> Any:
        """Make a call with a key, and return the answer or the error."""
        behaviour = getattr(GRPCInferenceServiceStub(self.channel), method)
        try:
            return behaviour(request, metadata=self.metadata(key), timeout=HANG)
        except grpc.RpcError as error:
            return error


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("access")
    made = {name: make_key(name, frozenset({scope}), RATES.get(name)) for name, scope in SCOPES.items()}
    (folder / "keys.toml").write_text("".join(entry for _, entry in made.values()))
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(folder / "certificate.pem")
    issued.private_key_pem.write_to_path(folder / "key.pem")
    tls = ["--tls-certificate", str(folder / "certificate.pem"), "--tls-key", str(folder / "key.pem")]
    keys = ["--api-key-file", str(folder / "keys.toml"), "--model-control"]
    with (
        running("--grpc-port", str(free_port()), "--client-seconds", "1", *tls, *keys) as service,
        grpc.secure_channel(
            service.grpc_address(), grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        ) as channel,
    ):
        yield Guarded(service.grpc_address(), channel, {name: secret for name, (secret, _) in made.items()})


def test_a_call_needs_a_key_with_its_scope(guarded: Guarded) -> None:
    request = message(model_name="mlp")
    without = guarded.call("ModelInfer", request)
    assert (without.code(), without.details()) == (
        StatusCode.UNAUTHENTICATED,
        "authorization: must be Bearer followed by an API key",
    )
    assert guarded.call("ModelInfer", request, "unknown").code() == StatusCode.UNAUTHENTICATED
    assert guarded.call("ModelInfer", request, "admin").code() == StatusCode.PERMISSION_DENIED
    assert guarded.call("ModelInfer", request, "predict").model_name == "mlp"
    load = pb.RepositoryModelLoadRequest(model_name="mlp")
    assert guarded.call("RepositoryModelLoad", load, "predict").code() == StatusCode.PERMISSION_DENIED
    assert guarded.call("RepositoryModelLoad", load, "admin") == pb.RepositoryModelLoadResponse()


def test_every_method_but_those_for_health_needs_a_key(guarded: Guarded) -> None:
    methods = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]
    served = [name for name in methods if "SharedMemory" not in name and name not in {"TraceSetting", "LogSettings"}]
    for name in set(served) - {"ModelStreamInfer", "ServerLive", "ServerReady"}:
        answer = guarded.call(name, getattr(pb, f"{name}Request")())
        assert isinstance(answer, grpc.RpcError), name
        assert answer.code() == StatusCode.UNAUTHENTICATED, name
    assert guarded.call("ServerLive", pb.ServerLiveRequest()).live
    assert guarded.call("ServerReady", pb.ServerReadyRequest()).ready
    assert HealthStub(guarded.channel).Check(health_pb2.HealthCheckRequest()).status == 1
    for stream in (
        GRPCInferenceServiceStub(guarded.channel).ModelStreamInfer(iter([message()])),
        ServerReflectionStub(guarded.channel).ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest()])),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() == StatusCode.UNAUTHENTICATED


def test_the_rate_of_a_key_limits_calls_and_says_when_to_retry(guarded: Guarded) -> None:
    live = pb.ModelReadyRequest(name="mlp")
    assert guarded.call("ModelReady", live, "slow").ready
    refused = guarded.call("ModelReady", live, "slow")
    assert refused.code() == StatusCode.RESOURCE_EXHAUSTED
    assert 1 <= int(dict(refused.trailing_metadata())["retry-after"]) <= 60
    assert "limited to 1 requests per minute" in refused.details()


def test_the_opening_of_a_stream_and_each_of_its_requests_count_for_the_rate(guarded: Guarded) -> None:
    answers = GRPCInferenceServiceStub(guarded.channel).ModelStreamInfer(
        iter([message(model_name="mlp", id=str(number)) for number in range(3)]),
        metadata=guarded.metadata("streaming"),
    )
    errors = [answer.error_message for answer in answers]
    assert sum("limited to 3 requests per minute" in error for error in errors) == 1
    assert errors.count("") == 2


def test_a_client_that_does_not_send_its_message_in_time_is_given_up(guarded: Guarded) -> None:
    def silent() -> Iterator[bytes]:
        given_up.wait(HANG)
        yield b""

    given_up = Event()
    infer: Any = guarded.channel.stream_unary("/inference.GRPCInferenceService/ModelInfer")
    error = infer.future(silent(), metadata=guarded.metadata("predict")).exception(timeout=HANG)
    given_up.set()
    assert (error.code(), error.details()) == (StatusCode.DEADLINE_EXCEEDED, "message: has not arrived after 1 s")
    assert guarded.call("ServerLive", pb.ServerLiveRequest()).live


def test_without_tls_there_is_no_answer(guarded: Guarded) -> None:
    with grpc.insecure_channel(guarded.address) as channel, pytest.raises(grpc.RpcError) as caught:
        GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=HANG)
    assert caught.value.code() == StatusCode.UNAVAILABLE
