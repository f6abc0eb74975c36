"""Slow clients, and clients that send too many bytes outside of a body: the real service, with short time limits."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from service.server.http_protocol import MOST_OVERHEAD
from tests.digits import load_test_set, seven
from tests.serving import TWO_MODELS, Running, running
from tests.waiting import HANG

pytestmark = pytest.mark.system

LINE = b"POST /predict HTTP/1.1\r\nhost: here\r\n"
DIGIT = LINE + b"content-type: application/octet-stream\r\ncontent-length: 784\r\n\r\n" + seven().tobytes()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    with running("--client-seconds", "1", "--keep-alive-seconds", "1", models=TWO_MODELS) as service:
        yield service


@contextmanager
def connected(service: Running, **options: int) -> Iterator[socket.socket]:
    address = httpx.URL(service.url)
    with socket.socket() as connection:
        for name, value in options.items():
            connection.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        connection.settimeout(HANG)
        connection.connect((address.host, address.port))
        yield connection


def rest(connection: socket.socket) -> bytes:
    """The bytes that arrive until the service closes the connection."""
    received = b""
    try:
        while more := connection.recv(65536):
            received += more
    except ConnectionResetError:  # the service closed the connection before it had read all bytes
        pass
    return received


BEGINNINGS = {
    "a line": b"POST /predict HT",
    "a header": LINE + b"content-len",
    "a body": LINE + b"content-type: application/octet-stream\r\ncontent-length: 784\r\n\r\n" + bytes(783),
    "a chunk": LINE
    + b"content-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n310\r\n"
    + bytes(783),
    "an empty line": b"\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_a_request_that_is_not_complete_in_time_is_refused(hasty: Running, beginning: bytes) -> None:
    with connected(hasty) as connection:
        connection.sendall(beginning)
        head, _, body = rest(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in head
    assert body == b"The request was not complete after 1 s."


def test_sending_a_byte_now_and_then_does_not_extend_the_time(hasty: Running) -> None:
    with connected(hasty) as connection:
        started = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        for byte in LINE * 1000:
            assert time.monotonic() < started + HANG, f"the connection was not closed within {HANG} s"
            try:
                connection.sendall(bytes([byte]))
                if answer := connection.recv(1000):
                    break
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed_after_an_answer(hasty: Running) -> None:
    with connected(hasty) as connection:
        connection.sendall(DIGIT)
        received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.count(b"HTTP/1.1") == 1


def test_a_request_that_begins_after_an_answer_has_the_same_time(hasty: Running) -> None:
    with connected(hasty) as connection:
        connection.sendall(DIGIT + LINE)
        received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in received


def test_an_answer_is_sent_although_the_next_request_is_incomplete(hasty: Running) -> None:
    """The computation takes longer than the time limit of the next request, of which only the beginning arrives."""
    images = load_test_set()[0][:64]
    line = b"POST /predict?method=heun2&tolerance=1e-6 HTTP/1.1\r\nhost: here\r\n"
    header = f"content-type: application/octet-stream\r\ncontent-length: {images.nbytes}\r\n\r\n".encode()
    with connected(hasty) as connection:
        connection.sendall(line + header + images.tobytes() + LINE)
        head, _, body = rest(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    answer = json.loads(body)
    assert len(answer["predictions"]) == 64
    assert answer["timing_ms"]["total"] > 1000, "the answer took longer than the time limit"


def test_a_client_that_does_not_take_its_answer_is_disconnected(hasty: Running) -> None:
    """A file of the documentation, requested several times, is too long for the buffers of the kernel."""
    ask = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: here\r\n\r\n"
    with connected(hasty, SO_RCVBUF=4096) as connection:
        connection.sendall(ask * 8)
        given_up = time.monotonic() + HANG
        with httpx.Client(base_url=hasty.url) as other:  # the service goes on serving other clients
            while open_sockets(hasty) > 1:
                assert time.monotonic() < given_up, f"the client was not disconnected within {HANG} s"
                assert other.get("/health/live").status_code == 200
                time.sleep(0.05)


def open_sockets(service: Running) -> int:
    """The number of connections between the service and its clients (proc_pid_net(5)), this client's among them."""
    port = f":{httpx.URL(service.url).port:04X}"
    with open(f"/proc/{service.process.pid}/net/tcp") as table:  # noqa: PTH123 (Path has no lines)
        rows = [line.split() for line in table][1:]
    return sum(row[1].endswith(port) and row[3] in {"01", "04", "05", "09", "0B"} for row in rows)


CHUNKED = LINE + b"content-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
"""The head of a request that the service does not answer before it has read the body."""

OVERHEADS = {
    "a path": [b"GET /" + b"a" * 100_000],
    "a header": [LINE + b"x: " + b"a" * 100_000],
    "headers": [LINE, *[b"x: y\r\n"] * 20_000],
    "trailers": [CHUNKED + b"0\r\n", *[b"x: y\r\n"] * 20_000],
    "extensions of a chunk": [CHUNKED + b"1;" + b"a" * 100_000],
}


@pytest.mark.parametrize("parts", OVERHEADS.values(), ids=OVERHEADS.keys())
def test_bytes_outside_of_a_body_are_limited(service: Running, parts: list[bytes]) -> None:
    with connected(service) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            return  # the service closed the connection before the client had sent all bytes, and so without an answer
        received = rest(connection)
    assert received == b"" or received.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


def test_a_long_body_does_not_count_as_overhead(service: Running) -> None:
    """A body in chunks does not count either, although each chunk has a line of its own."""
    images = load_test_set()[0][:50]
    content = images.tobytes()
    assert len(content) < 400_000, "the limit of this service"

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(content), 100):
            yield content[at : at + 100]

    headers = {"content-type": "application/octet-stream"}
    with service.client() as client:
        for body in (content, chunks()):
            answer = client.post("/predict", content=body, headers=headers)
            assert len(answer.json()["predictions"]) == 50
            assert len(content) / 100 * 6 < MOST_OVERHEAD
