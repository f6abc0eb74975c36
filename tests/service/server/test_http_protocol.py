"""Slow clients, and clients that send requests that are not valid HTTP: the real service, with short time limits."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from service.server.http_protocol import MOST_OVERHEAD
from tests.digits import load_test_set, seven
from tests.serving import TWO_MODELS, Running, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

LINE = b"POST /predict HTTP/1.1\r\nhost: here\r\n"
DIGIT = LINE + b"content-type: application/octet-stream\r\ncontent-length: 784\r\n\r\n" + seven().tobytes()


TIME_LIMIT = 0.5
"""Seconds in which a request to the service `hasty` must be complete."""


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    with running("--client-seconds", str(TIME_LIMIT), "--keep-alive-seconds", "1", models=TWO_MODELS) as service:
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
    assert body == f"The request was not complete after {TIME_LIMIT} s.".encode()


def test_sending_a_byte_now_and_then_does_not_extend_the_time(hasty: Running) -> None:
    with connected(hasty) as connection:
        started = time.monotonic()
        connection.settimeout(0.05)
        answer = b""
        for byte in LINE + b"a: " + b"b" * 10_000:
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


REFUSABLE = {
    "no request": (b"nonsense\r\n\r\n", b"HTTP/1.1 400 "),
    "a head that is not valid": (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
    "a chunk that is not valid": (BEGINNINGS["a chunk"].replace(b"310", b"three"), b"HTTP/1.1 400 "),
    "an incomplete request": (LINE, b"HTTP/1.1 408 "),
}


@pytest.mark.parametrize(("refused", "refusal"), REFUSABLE.values(), ids=REFUSABLE.keys())
@pytest.mark.parametrize("valid", [1, 3])
def test_requests_before_a_refused_one_are_answered_first(
    hasty: Running, refused: bytes, refusal: bytes, valid: int
) -> None:
    with connected(hasty) as connection:
        connection.sendall(DIGIT * valid + refused)
        received = rest(connection)
    answers = re.findall(rb"HTTP/1.1 \d{3} ", received)
    assert answers == [b"HTTP/1.1 200 "] * valid + [refusal]
    assert received.count(b'"digit":7') == valid


def test_a_request_that_begins_after_an_answer_has_the_same_time(hasty: Running) -> None:
    with connected(hasty) as connection:
        connection.sendall(DIGIT + LINE)
        received = rest(connection)
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in received


LONG = 16
"""Images that take longer than the time limit together."""


def answers_after_a_long_computation(service: Running, next_request: bytes) -> tuple[int, bytes]:
    """Send a request, whose computation takes longer than the time limit, and the next request together.

    Returns:
        The number of predictions in the first answer, and the bytes after this answer.
    """
    images = load_test_set()[0][:LONG]
    line = b"POST /predict?method=heun2&tolerance=1e-6 HTTP/1.1\r\nhost: here\r\n"
    header = f"content-type: application/octet-stream\r\ncontent-length: {images.nbytes}\r\n\r\n".encode()
    with connected(service) as connection:
        connection.sendall(line + header + images.tobytes() + next_request)
        head, _, received = rest(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    body, status, more = received.partition(b"HTTP/1.1 ")
    answer = json.loads(body)
    assert answer["timing_ms"]["total"] > 1000 * TIME_LIMIT, "the answer took longer than the time limit"
    return len(answer["predictions"]), status + more


def test_an_answer_is_sent_although_the_next_request_is_incomplete(hasty: Running) -> None:
    """The computation takes longer than the time limit of the next request. Only a part of this request arrives."""
    predictions, refusal = answers_after_a_long_computation(hasty, LINE)
    assert predictions == LONG
    assert refusal.startswith(b"HTTP/1.1 408 ")


def test_a_request_that_waits_behind_an_answer_is_not_too_slow(hasty: Running) -> None:
    """While the service computes the answer before it, it does not read the whole body."""
    blank = LINE + b"content-type: image/png\r\nconnection: close\r\ncontent-length: 1000000\r\n\r\n" + bytes(10**6)
    _, answer = answers_after_a_long_computation(hasty, blank)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"PNG" in answer


def test_a_client_that_does_not_take_its_answer_is_disconnected(hasty: Running) -> None:
    """A file of the documentation, requested several times, is too long for the buffers of the kernel."""
    ask = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: here\r\n\r\n"
    with connected(hasty, SO_RCVBUF=4096) as connection:
        connection.sendall(ask * 8)
        given_up = time.monotonic() + HANG
        with httpx.Client(base_url=hasty.url, timeout=HANG) as other:  # the service goes on serving other clients
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


def test_a_url_that_is_longer_than_the_limit_is_not_called_invalid(service: Running) -> None:
    """The URL arrives in one read with the rest of the request, so the parser sees it before the bytes are counted."""
    answer = answer_to(service, b"GET /" + MOST_OVERHEAD * b"a" + b" HTTP/1.1\r\nhost: here\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


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


@pytest.mark.parametrize(("deadline_ms", "status"), [(100, 504), (60_000, 200)])
def test_a_deadline_counts_from_the_first_byte_of_a_request(service: Running, deadline_ms: int, status: int) -> None:
    request = DIGIT.replace(b"/predict", f"/predict?deadline_ms={deadline_ms}".encode())
    pieces = [request[:1], request[1:30], request[30:-700], request[-700:-1], request[-1:]]
    with connected(service) as connection:
        began = time.monotonic()
        for number, piece in enumerate(pieces, start=1):
            connection.sendall(piece)
            until(lambda number=number: time.monotonic() > began + 0.2 * number)  # type: ignore[misc]
        answer = connection.recv(65_536)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def answer_to(service: Running, request: bytes) -> bytes:
    """The answer to a request, after which the client sends nothing more."""
    with connected(service) as connection:
        connection.sendall(request + b"GET /health/live HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
        received = rest(connection)
    assert received.count(b"HTTP/1.1 ") in {1, 2}, "the answer, and that of the request behind it"
    return b"HTTP/1.1 " + received.split(b"HTTP/1.1 ")[1]


def with_lines(*lines: str) -> bytes:
    """The request for the digit, with other lines in its head."""
    return DIGIT.replace(b"host: here\r\n", "".join(f"{line}\r\n" for line in lines).encode())


UPGRADES = {
    "HTTP/2, as curl --http2 asks": ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAA"],
    "a web socket": ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"],
    "several protocols": ["connection: keep-alive, Upgrade", "upgrade: h2c", "upgrade: irc/6.9"],
}
LAST_UPGRADES = {
    "a connection that closes": with_lines("host: here", "connection: close, Upgrade", "upgrade: websocket"),
    "HTTP/1.0": with_lines("connection: upgrade", "upgrade: h2c").replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("lines", UPGRADES.values(), ids=UPGRADES.keys())
def test_a_request_to_upgrade_the_connection_is_answered_as_any_other(service: Running, lines: list[str]) -> None:
    request = with_lines("host: here", *lines)
    with connected(service) as connection:
        connection.sendall(request[:50])  # the head and the body arrive in parts
        connection.sendall(request[50:-700])
        connection.sendall(request[-700:] + request * 2 + LINE + b"connection: close\r\n\r\n")
        received = rest(connection)
    assert re.findall(rb"HTTP/1.1 \d{3} ", received) == [b"HTTP/1.1 200 "] * 3 + [b"HTTP/1.1 415 "]
    assert received.count(b'"digit":7') == 3


@pytest.mark.parametrize("request_bytes", LAST_UPGRADES.values(), ids=LAST_UPGRADES.keys())
def test_a_last_request_to_upgrade_the_connection_is_answered_too(service: Running, request_bytes: bytes) -> None:
    with connected(service) as connection:
        connection.sendall(request_bytes)
        received = rest(connection)
    assert re.findall(rb"HTTP/1.1 \d{3} ", received) == [b"HTTP/1.1 200 "]


HEADS = {
    "no host": ([], "one header Host; this request has 0"),
    "two hosts": (["host: here", "host: there"], "one header Host; this request has 2"),
    "the same host twice": (["host: here", "Host: here"], "one header Host; this request has 2"),
    "a host with a path": (["host: here/there"], "header Host must be a host"),
    "a host with a user": (["host: me@here"], "header Host must be a host"),
    "two hosts in one header": (["host: here, there"], "header Host must be a host"),
    "a port that is no number": (["host: here:http"], "header Host must be a host"),
    "another coding before chunked": (["host: here", "transfer-encoding: gzip, chunked"], "must be chunked"),
    "two codings in two headers": (["host: here", "transfer-encoding: gzip", "transfer-encoding: chunked"], "chunked"),
    "another coding only": (["host: here", "transfer-encoding: identity"], "must be chunked"),
}


@pytest.mark.parametrize(("lines", "reason"), HEADS.values(), ids=HEADS.keys())
def test_a_request_with_a_wrong_host_or_coding_is_refused(service: Running, lines: list[str], reason: str) -> None:
    request = with_lines(*lines)
    if any("transfer-encoding" in line for line in lines):
        request = request.replace(b"content-length: 784\r\n", b"").replace(seven().tobytes(), b"0\r\n\r\n")
    answer = answer_to(service, request)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"connection: close" in answer
    assert reason.encode() in answer


@pytest.mark.parametrize(
    "host", ["", "here", "here:", "here:8000", "10.0.0.1", "[::1]:8000", "a_b.example.org", "caf%C3%A9"]
)
def test_every_valid_host_is_accepted(service: Running, host: str) -> None:
    assert answer_to(service, with_lines(f"host: {host}")).startswith(b"HTTP/1.1 200 ")


def test_http_1_0_needs_no_host_and_may_not_send_chunks(service: Running) -> None:
    """Load balancers check the health of a service by HTTP/1.0."""
    assert answer_to(service, b"GET /health/ready HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")
    assert answer_to(service, CHUNKED.replace(b"1.1", b"1.0") + b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_connect_is_refused_because_the_service_is_no_proxy(service: Running) -> None:
    answer = answer_to(service, b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"not a proxy" in answer


@pytest.mark.parametrize("more", [[], ["expect: 100-continue"]], ids=["sending at once", "waiting for 100 Continue"])
def test_a_body_that_is_declared_too_long_is_refused_before_it_arrives(service: Running, more: list[str]) -> None:
    with connected(service) as connection:
        connection.sendall(with_lines("host: here", *more).partition(b"content-length")[0])
        connection.sendall(b"content-length: 9000000000\r\n\r\n")
        received = connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 413 ")
    assert b"9,000,000,000 bytes" in received


@pytest.mark.parametrize("path", [b"/predict", b"/v2/repository/index", b"/nowhere"])
@pytest.mark.parametrize("last", ["keep-alive", "close"])
def test_a_client_that_sends_a_whole_body_that_is_too_long_gets_its_answer(
    service: Running, last: str, path: bytes
) -> None:
    """Many clients read no answer before they have sent everything. The answer must not be lost by a reset."""
    size = 30_000_000
    with connected(service) as connection:
        head = with_lines("host: here", f"connection: {last}").partition(b"content-length")[0]
        head = head.replace(b"/predict", path)
        connection.sendall(head + f"content-length: {size}\r\n\r\n".encode())
        for _ in range(30):
            connection.sendall(bytes(size // 30))
        if last == "keep-alive":
            connection.sendall(DIGIT.replace(b"host", b"connection: close\r\nhost"))
        received = rest(connection)
    statuses = re.findall(rb"HTTP/1.1 \d{3} ", received)
    first = b"HTTP/1.1 404 " if path == b"/nowhere" else b"HTTP/1.1 413 "
    assert statuses == [first, b"HTTP/1.1 200 "][: 1 if last == "close" else 2]
