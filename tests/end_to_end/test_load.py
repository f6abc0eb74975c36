"""Overload: which requests are accepted, which are refused, and what happens when callers disconnect."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
import uvicorn

from models.solvers.methods import METHODS
from service.app import create_app
from service.engine.engine import Engine
from service.server.http_protocol import ServerConfig
from service.settings import Settings
from tests.digits import encoded, load_test_set
from tests.metrics import Scrape, scrape
from tests.serving import DEFAULT_MODEL, TWO_MODELS, Running, folder_of, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

PIXELS = {"content-type": "application/octet-stream"}
TIGHT = {"method": "heun2", "tolerance": "1e-6"}
TIGHT_NFE = 500
"""Minimum number of evaluations of an image at this tolerance."""

ROWS = 64
"""Images of a request that takes seconds at this tolerance."""


def digits(rows: int) -> bytes:
    return load_test_set()[0][:rows].tobytes()


def post(client: httpx.Client, rows: int, **query: str) -> httpx.Response:
    return client.post("/predict", content=digits(rows), headers=PIXELS, params=query)


def refusal(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer that says that the queue is full."""
    assert answer.status_code == 429, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    (error,) = answer.json()["errors"]
    assert error["field"] == "queue"
    assert isinstance(error, dict)
    return error


# A service in a process of its own, whose queue is short.


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    with running("--queue-seconds", "0.001", "--max-images", "8", models=TWO_MODELS) as service:
        yield service


def test_a_full_queue_refuses_new_requests_and_answers_the_others(service: Running) -> None:
    with service.client() as client, ThreadPoolExecutor(8) as pool:
        statuses: list[int] = []
        while len(set(statuses)) < 2:
            asked = [pool.submit(post, client, 2, **TIGHT) for _ in range(8)]
            while not all(answer.done() for answer in asked):
                assert client.get("/health/ready").json()["status"] == "ready"
                assert client.get("/health/live").status_code == 200
            for answer in (each.result() for each in asked):
                statuses.append(answer.status_code)
                if answer.status_code != 200:
                    assert "by 0.001 s" in refusal(answer)["message"]
                else:
                    assert len(answer.json()["predictions"]) == 2
            assert len(statuses) < 200, "some are let in and some are refused"
        assert set(statuses) == {200, 429}
        (prediction,) = post(client, 1).json()["predictions"]
        assert (prediction["digit"], prediction["solver"]["degraded"]) == (7, False)


def test_a_file_sent_as_octet_stream_counts_as_one_image(service: Running) -> None:
    page = load_test_set()[0][0].repeat(20, axis=0).repeat(20, axis=1)
    content = encoded(page, compress_level=0)
    assert len(content) > 8 * 784
    with service.client() as client:
        answer = client.post("/predict", content=content, headers=PIXELS)
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["predictions"]) == 1


def test_too_many_images_in_a_request_are_refused_before_the_queue(service: Running) -> None:
    with service.client() as client:
        answer = post(client, 9)
    assert answer.status_code == 413
    assert "at most 8 in a request" in answer.json()["detail"]


# A service in this process, so that a test can look at the queue by priority.


@contextmanager
def served_here() -> Iterator[tuple[int, Engine]]:
    """The port of the service, and its engine."""
    with folder_of([DEFAULT_MODEL]) as models:
        app = create_app(Settings(models=Path(models), queue_seconds=600, workers=1))
    server = uvicorn.Server(ServerConfig(app, client_seconds=HANG, port=0, log_level="error"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server.servers[0].sockets[0].getsockname()[1], server.lifespan.state["plane"].engine
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def here() -> Iterator[tuple[int, Engine]]:
    with served_here() as here:
        yield here


@contextmanager
def asking(port: int, rows: int, query: str) -> Iterator[None]:
    """A caller that sends a request, waits, and disconnects without an answer."""
    head = f"POST /predict?{query} HTTP/1.1\r\nhost: here\r\ncontent-length: {784 * rows}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in PIXELS.items())
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + b"\r\n" + digits(rows))
        yield


@contextmanager
def limited(engine: Engine) -> Iterator[None]:
    """Limit the queue to a hundredth of a second for the time of the block."""
    before, engine.admission.seconds = engine.admission.seconds, 0.01
    yield
    engine.admission.seconds = before


HARD = "method=heun2&tolerance=1e-6"


def metrics(port: int) -> Scrape:
    """The metrics now."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=HANG) as client:
        return scrape(client)


def cancelled(port: int) -> float:
    """How many requests were cancelled."""
    return metrics(port).total("inferences_total", end="cancelled")


def refused(port: int) -> float:
    """How many requests were refused because the queue was full."""
    return metrics(port).total("shed_total", reason="queue_full")


def test_a_disconnect_cancels_a_running_request(here: tuple[int, Engine]) -> None:
    port, engine = here
    before, cancelled_before = metrics(port), cancelled(port)
    with asking(port, ROWS, HARD):
        until(lambda: metrics(port).total("rows_inflight"))
    until(lambda: cancelled(port) == cancelled_before + 1)
    assert engine.admission.rows == 0
    steps = metrics(port).total("batch_rows_sum") - before.total("batch_rows_sum")
    assert steps * METHODS["heun2"].evaluations_per_step < ROWS * TIGHT_NFE / 2
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=HANG) as client:
        assert post(client, 1).status_code == 200


def test_a_disconnect_removes_a_queued_request(here: tuple[int, Engine]) -> None:
    port, engine = here
    cancelled_before = cancelled(port)

    with asking(port, ROWS, f"{HARD}&priority=high"):
        until(lambda: 0 < engine.admission.rows < ROWS)
        with asking(port, ROWS, f"{HARD}&priority=low"):
            until(lambda: engine.admission.rows > ROWS)
        until(lambda: cancelled(port) == cancelled_before + 1)
        assert 0 < engine.admission.rows < ROWS
    until(lambda: cancelled(port) == cancelled_before + 2)
    assert engine.admission.rows == 0


def announced(port: int, path: str, rows: int) -> int:
    """The status of the answer to a request that announces raw pixels but has not sent them yet."""
    head = f"POST {path} HTTP/1.1\r\nhost: here\r\ncontent-length: {784 * rows}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in PIXELS.items())
    with socket.create_connection(("127.0.0.1", port), timeout=HANG) as connection:
        connection.sendall(head.encode() + b"\r\n")
        return int(connection.recv(4096).split()[1])


def test_a_request_without_room_in_the_queue_is_refused_before_its_body_is_read(here: tuple[int, Engine]) -> None:
    port, engine = here
    refused_before = refused(port)
    with limited(engine), asking(port, ROWS, f"{HARD}&priority=high"):
        until(lambda: engine.admission.rows > ROWS / 2)
        statuses = [announced(port, f"/predict?{HARD}&priority={priority}", ROWS) for priority in ("high", "low")]
    assert statuses == [429, 429]
    assert refused(port) == refused_before + 2
    until(lambda: not engine.admission.rows)


def test_high_priority_is_answered_while_the_queue_is_full_of_low_priority(here: tuple[int, Engine]) -> None:
    port, engine = here
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=HANG, trust_env=False) as client,
        limited(engine),
        asking(port, ROWS, HARD),
    ):
        until(lambda: engine.admission.rows)
        refusal(post(client, ROWS, priority="normal", **TIGHT))
        refusal(post(client, ROWS, priority="low", **TIGHT))
        assert post(client, 1, priority="normal").status_code == 200, "a short request has its turn"
        assert post(client, ROWS, priority="high").status_code == 200
        assert post(client, 1, priority="high", **TIGHT).status_code == 200
        assert engine.admission.rows > 0, "the others still wait"
    until(lambda: not engine.admission.rows)
