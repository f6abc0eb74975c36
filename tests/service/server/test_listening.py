"""The service listens at IPv4 and IPv6 addresses, and says why it cannot listen."""

import errno
import socket
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.servers import free_port
from service.server.listening import bind, check_free
from tests.serving import command, running
from tests.waiting import HANG

HAS_IPV6 = bool(Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text())


def is_reached(port: int, family: socket.AddressFamily, address: str) -> bool:
    with closing(socket.socket(family)) as caller:
        return caller.connect_ex((address, port)) == 0


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("host", "reached"), [("::", (True, True)), ("::1", (False, True)), ("127.0.0.1", (True, False))]
)
def test_a_socket_is_reached_over_the_protocols_of_its_address(host: str, reached: tuple[bool, bool]) -> None:
    port = free_port()  # the system may give a port that another program uses over the other protocol
    with bind(host, port) as listener:
        listener.listen()
        assert is_reached(port, socket.AF_INET, "127.0.0.1") == reached[0]
        assert is_reached(port, socket.AF_INET6, "::1") == reached[1]


def test_a_free_port_is_found_and_a_free_port_is_kept() -> None:
    assert check_free("127.0.0.1", 0) > 0
    port = free_port()
    assert check_free("127.0.0.1", port) == port


def test_a_port_in_use_is_reported_with_the_remedy() -> None:
    with bind("127.0.0.1", 0) as other:
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"program listens at port {port} of 127.0.0.1; .* by --port") as caught:
            check_free("127.0.0.1", port)
    assert caught.value.errno == errno.EADDRINUSE


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1"])
def test_an_address_of_another_machine_is_reported(host: str) -> None:
    with pytest.raises(OSError, match=f"host: this machine has no address {host}; choose another by --host"):
        check_free(host, 0)


def test_an_unknown_name_is_reported() -> None:
    with pytest.raises(OSError, match=r"host: cannot listen at no-such-host\.invalid, port 0"):
        check_free("no-such-host.invalid", 0)


@pytest.mark.system
@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize("workers", ["1", "2"])
def test_on_all_networks_a_service_answers_over_ipv4_and_ipv6(workers: str) -> None:
    with running("--host", "::", "--no-auth", ODENET_WORKERS=workers) as service:
        port = httpx.URL(service.url).port
        for host in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{host}:{port}/health/live", trust_env=False, timeout=HANG).status_code == 200


@pytest.mark.system
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_at_a_port_in_use_ends_at_once_with_the_reason(workers: str) -> None:
    with bind("127.0.0.1", 0) as other:
        other.listen()
        port = other.getsockname()[1]
        done = command(["--port", str(port)], {"ODENET_WORKERS": workers})
    assert done.returncode == 3
    assert f"error: port: another program listens at port {port} of 127.0.0.1; stop it, or" in done.stderr
    assert "startup" not in done.stderr
