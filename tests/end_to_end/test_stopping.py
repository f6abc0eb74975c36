"""The service is stopped while callers send requests. No request that reached the service is lost."""

import http.client
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from functools import partial
from pathlib import Path

import httpx
import pytest

from benchmarks.serving.servers import suspended
from tests.digits import load_test_set
from tests.end_to_end.callers import PIXELS, calling, descendants, workers
from tests.serving import FITTED, Running, running, start
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

Serve = Callable[..., AbstractContextManager[Running]]

ONE_AND_TWO = pytest.mark.parametrize("processes", ["1", "2"])


@pytest.fixture
def serving(tmp_path: Path) -> Serve:
    """The service with the model that loads the fastest. There is no grace period by default."""
    (tmp_path / "mlp").symlink_to(FITTED / "mlp")
    return partial(running, "--models", str(tmp_path), "--model", "mlp")


def to_the_service(service: Running) -> None:
    """Send SIGTERM as ``docker stop`` does."""
    service.process.send_signal(signal.SIGTERM)


def to_all_processes(service: Running) -> None:
    """Send SIGTERM as systemd does by default, and as a shell does to a whole process group."""
    for process in [*descendants(service.process.pid), service.process.pid]:
        os.kill(process, signal.SIGTERM)


@ONE_AND_TWO
@pytest.mark.parametrize("terminate", [to_the_service, to_all_processes])
def test_sigterm_fails_readiness_first_and_loses_no_request(
    serving: Serve, processes: str, terminate: Callable[[Running], None]
) -> None:
    with serving("--grace-seconds", "10", ODENET_WORKERS=processes) as service, calling(service) as callers:
        terminate(service)
        until(lambda: "".join(service.log).count("Stopping: no longer ready") == int(processes))
        assert status(service, "/health/ready") == 503
        assert status(service, "/v2/health/ready") == 503
        assert status(service, "/health/live") == 200
        callers.answered(2)  # over new connections, because each answer closes its connection
        callers.stop.set()  # like a load balancer that sees the failed health check
        callers.end()
        assert service.process.wait(HANG) == 0
        assert not any(exists(process) for process in workers(service)), "the service waits for its workers"
        assert callers.lost == []
        assert all(caller.closed >= 2 for caller in callers.callers)


@ONE_AND_TWO
def test_ctrl_c_loses_no_accepted_request(serving: Serve, processes: str) -> None:
    """A caller that connects while the sockets close may be refused, but its request was never read."""
    with serving("--grace-seconds", "600", ODENET_WORKERS=processes) as service, calling(service) as callers:
        service.process.send_signal(signal.SIGINT)
        callers.end()
        assert service.process.wait(HANG) == 0
    logged = sum("POST /predict 200" in line for line in service.log)
    assert logged == sum(len(caller.answers) for caller in callers.callers)


def status(service: Running, path: str) -> int:
    """The status of an answer over a new connection."""
    return httpx.get(f"{service.url}{path}", trust_env=False, timeout=HANG).status_code


@ONE_AND_TWO
def test_requests_that_arrived_but_were_not_read_are_answered(serving: Serve, processes: str) -> None:
    """The signal arrives while the service is suspended: some callers are accepted, others wait for accept."""
    with serving(ODENET_WORKERS=processes) as service, ExitStack() as stack:
        known = [stack.enter_context(asking(service)) for _ in range(8)]
        assert [answered(connection) for connection in known] == [200] * 8
        with suspended(service.process.pid, *workers(service)):
            new = [stack.enter_context(asking(service)) for _ in range(8)]
            for connection in known:
                ask(connection)
            service.process.send_signal(signal.SIGTERM)
        assert [answered(connection) for connection in (*known, *new)] == [200] * 16
        assert service.process.wait(HANG) == 0


def asking(service: Running) -> socket.socket:
    """A connection on which a request was sent."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=HANG)
    ask(connection)
    return connection


def ask(connection: socket.socket) -> None:
    head = (
        "POST /predict HTTP/1.1\r\nhost: here\r\ncontent-type: application/octet-stream\r\ncontent-length: 784\r\n\r\n"
    )
    connection.sendall(head.encode() + load_test_set()[0][0].tobytes())


def answered(connection: socket.socket) -> int:
    """The status of a complete answer."""
    with closing(http.client.HTTPResponse(connection)) as response:
        response.begin()
        assert b'"digit":7' in response.read()
        return response.status


@ONE_AND_TWO
def test_a_second_signal_stops_the_service_at_once(serving: Serve, processes: str) -> None:
    with serving("--grace-seconds", "600", ODENET_WORKERS=processes) as service:
        assert status(service, "/health/ready") == 200
        service.process.send_signal(signal.SIGTERM)
        until(lambda: status(service, "/health/ready") == 503)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 128 + signal.SIGTERM
        until(lambda: not any(exists(process) for process in workers(service)))


def exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@ONE_AND_TWO
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("line", ["plan", "serving mlp"], ids=["before any", "after the first"])
def test_a_signal_during_loading_stops_the_service(processes: str, sig: signal.Signals, line: str) -> None:
    process = start("--port", "0", "--workers", processes)
    assert process.stderr is not None
    with process:
        log = ""
        while line not in log:
            log += process.stderr.readline()
        process.send_signal(sig)
        ends_without_serving(process, log)


INTERRUPTED = """
import logging, signal, sys, weakref
from service.__main__ import main

sig, interrupted = int(sys.argv.pop(1)), sys.argv.pop(1)

class Mark:
    pass

def record(*arguments, **options):
    made = logging.LogRecord(*arguments, **options)
    if made.getMessage().startswith(interrupted):
        mark = Mark()
        reference = weakref.ref(mark, lambda _: signal.raise_signal(sig))
        del mark
    return made

logging.setLogRecordFactory(record)
main()
"""
"""Starts the service. A signal arrives at a line of the log, inside a callback whose exceptions Python drops.

Such callbacks are also in Python's import system."""


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("processes", "line"), [("1", "plan"), ("2", "plan"), ("2", "Uvicorn running"), ("2", "Started parent process")]
)
def test_a_signal_stops_the_service_whatever_the_service_does(
    tmp_path: Path, processes: str, line: str, sig: signal.Signals
) -> None:
    program = ("-c", INTERRUPTED, str(int(sig)), line)
    with start("--port", "0", "--workers", processes, program=program, TMPDIR=str(tmp_path)) as process:
        ends_without_serving(process)
    assert list(tmp_path.iterdir()) == [], "the service removes its shared folder"


def ends_without_serving(process: subprocess.Popen[str], log: str = "") -> None:
    """Check that a service ends in an orderly way before it serves.

    Args:
        process: the service, which has got a signal.
        log: what was read of its log.
    """
    assert process.stderr is not None
    for line in process.stderr:
        log += line
        if "startup complete" in line:
            process.kill()
    assert process.wait(HANG) == 0, log
    assert "Traceback" not in log, log


def test_an_endless_request_ends_after_the_shutdown_time(serving: Serve) -> None:
    with serving("--shutdown-seconds", "0") as service, asking(service) as connection:
        assert answered(connection) == 200
        connection.sendall(b"POST /predict HTTP/1.1\r\nhost: here\r\ncontent-length: 784\r\n")
        connection.sendall(f"content-type: {PIXELS['content-type']}\r\n\r\n".encode())
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(HANG) == 0
