"""Connections that close or stay open, and a process whose engine has ended."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.digits import load_test_set
from tests.serving import ROOT, Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

EXPECTING = (
    "POST /predict HTTP/1.1\r\nhost: here\r\nexpect: 100-continue\r\ncontent-length: 784\r\ncontent-type: {}\r\n\r\n"
)


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running() as service:
        yield service


def expecting(service: Running, media_type: str) -> socket.socket:
    """A connection on which a request waits for `100 Continue` before it sends its body."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=HANG)
    connection.sendall(EXPECTING.format(media_type).encode())
    return connection


def test_a_refusal_before_100_continue_closes_the_connection(service: Running) -> None:
    """Otherwise the service would read the next request as the body."""
    with expecting(service, "text/plain") as connection:
        received = b""
        while part := connection.recv(65536):
            received += part
    assert received.startswith(b"HTTP/1.1 415 ")
    assert b"\r\nconnection: close\r\n" in received


def test_100_continue_keeps_the_connection_open(service: Running) -> None:
    with expecting(service, "application/octet-stream") as connection:
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for _ in range(2):
            connection.sendall(load_test_set()[0][0].tobytes())
            received = b""
            while b"timing_ms" not in received:
                received += connection.recv(65536)
            assert received.startswith(b"HTTP/1.1 200 ")
            assert b"connection: close" not in received
            connection.sendall(EXPECTING.format("application/octet-stream").encode())
            assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"


BREAKABLE = """
import sys
from fastapi import Request
from service.app import create_app
from service.server.graceful import GracefulServer
from service.server.http_protocol import ServerConfig
from service.settings import Settings
from service.telemetry import logs

logs.configure("info", json=False)
app = create_app(Settings(model="mlp", models=sys.argv[1], threads=1))

@app.get("/break")
async def take_a_thread_of_the_engine_down(request: Request):
    request.state.plane.engine._runners[0]._run_in_engine(sys.exit)

GracefulServer(ServerConfig(app, client_seconds=60, port=0, log_config=None), 0).run()
"""


def test_a_worker_whose_engine_has_ended_exits_and_is_replaced() -> None:
    program = [sys.executable, "-c", BREAKABLE, str(ROOT / "models" / "fitted")]
    with subprocess.Popen(program, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "running on" not in (line := process.stderr.readline()):
            assert line, "it has ended at its start"
        url = line.split()[4]
        assert httpx.get(f"{url}/health/ready", trust_env=False, timeout=HANG).status_code == 200
        httpx.get(f"{url}/break", trust_env=False, timeout=HANG).raise_for_status()
        assert process.wait(HANG) == 4
        assert "a thread of the engine has ended; this process ends" in process.stderr.read()
