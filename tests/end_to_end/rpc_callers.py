"""Finds out which processes of a service answer gRPC calls."""

import grpc
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from tests.service.rpc.infer_messages import message
from tests.waiting import HANG, until

OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
"""Channels with this option share no connection, so the kernel may give each of them to another process."""

ENDING = (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
"""The status of a call that arrives when its process ends."""


def rpc_process(address: str) -> str:
    """Make a call on a new connection, and return the part of its id that names the process.

    A call that arrives just when its process ends is cancelled, or its connection is closed. The client asks again.
    """
    while True:
        with grpc.insecure_channel(address, OWN_CONNECTION) as channel:
            infer = GRPCInferenceServiceStub(channel).ModelInfer
            try:
                answer, call = infer.with_call(message(model_name="mlp"), timeout=HANG)
            except grpc.RpcError as error:
                assert error.code() in ENDING, error  # noqa: PT017 (any other status fails the test)
                continue
        assert answer.model_name == "mlp"
        return str(dict(call.trailing_metadata())["x-request-id"][:16])


def rpc_processes(address: str) -> set[str]:
    """The names of the two processes of a service that answer calls."""
    names = set[str]()

    def both_answer() -> bool:
        names.add(rpc_process(address))
        return len(names) == 2

    until(both_answer)
    return names
