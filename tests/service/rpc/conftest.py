from collections.abc import Iterator

import grpc
import pytest
import tritonclient.grpc as triton

from benchmarks.serving.servers import free_port
from tests.serving import TWO_MODELS, Running, running

# Each process may import only one copy of the protocol's messages. These tests use those of tritonclient, as the
# service does. Clients with copies of their own run in processes of their own.


@pytest.fixture(scope="package")
def service() -> Iterator[Running]:
    """A service with gRPC and REST, and with small limits. The modules that use it have the xdist group `grpc`."""
    with running(
        "--grpc-port",
        str(free_port()),
        "--max-images",
        "50",
        "--max-body-bytes",
        "400000",
        "--model-control",
        models=TWO_MODELS,
    ) as service:
        yield service


@pytest.fixture(scope="package")
def address(service: Running) -> str:
    """The address for gRPC."""
    return service.grpc_address()


@pytest.fixture(scope="package")
def server(address: str) -> Iterator[triton.InferenceServerClient]:
    """Triton's synchronous client."""
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture(scope="package")
def channel(address: str) -> Iterator[grpc.Channel]:
    """A channel for calls that clients do not make."""
    with grpc.insecure_channel(address) as channel:
        yield channel
