"""The metrics agree with the answers, with one worker process and with several."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.digits import load_test_set
from tests.metrics import Scrape, scrape
from tests.service.engine.driving import doubtful_digits
from tests.serving import SHIPPED, TWO_MODELS, Running, running
from tests.waiting import HANG, until

pytestmark = pytest.mark.system

DIGITS = load_test_set()[0]
PIXELS = {"content-type": "application/octet-stream"}


def predict(client: httpx.Client, rows: int, **query: object) -> httpx.Response:
    params = {name: str(value) for name, value in query.items()}
    return client.post("/predict", content=DIGITS[:rows].tobytes(), headers=PIXELS, params=params)


def infer(client: httpx.Client, model: str, rows: int, **parameters: object) -> httpx.Response:
    tensor = {"name": "image", "shape": [rows, 28, 28], "datatype": "UINT8", "data": DIGITS[:rows].ravel().tolist()}
    return client.post(f"/v2/models/{model}/infer", json={"inputs": [tensor], "parameters": parameters})


def solve_columns(answers: list[httpx.Response]) -> list[dict[str, Any]]:
    """How each image was solved, from the answers of `predict`."""
    predictions = [each for answer in answers if answer.status_code == 200 for each in answer.json()["predictions"]]
    return [each["solver"] for each in predictions]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_metrics_of_a_known_run_equal_the_sums_of_its_answers(workers: int) -> None:
    with running(models=TWO_MODELS, ODENET_WORKERS=str(workers)) as service:
        answers, inferred = [], []
        for number in range(12):  # a new connection each time, which any of the processes may accept
            with service.client() as client:
                answers.append(predict(client, 3, tolerance=1e-3, method="dopri5"))
                answers.append(predict(client, 1, method="rk4", steps=2))
                answers.append(predict(client, 1, tolerance=100))
                inferred.append(infer(client, "odenet-mnist", 2, method="bosh3", tolerance=1e-2))
                inferred.append(infer(client, "mlp", 4))
                inferred.append(infer(client, f"none-{number}", 1))
        with service.client() as client:
            until(lambda: scrape(client).total("request_duration_seconds_count", method="POST") == 72)
            final = scrape(client)
            stats = client.get("/v2/models/mlp/stats").json()["model_stats"][0]

    def outputs(name: str) -> list[int]:
        tensors = [tensor for answer in inferred if answer.status_code == 200 for tensor in answer.json()["outputs"]]
        return [value for tensor in tensors if tensor["name"] == name for value in tensor["data"]]

    requests = {
        ("/predict", "200"): 24,
        ("/predict", "422"): 12,
        ("/v2/models/{name}/infer", "200"): 24,
        ("/v2/models/{name}/infer", "404"): 12,
    }
    for (route, status), count in requests.items():
        assert final.total("request_duration_seconds_count", route=route, status=status) == count
    assert final.total("inferences_total", end="answered") == final.total("inferences_total") == 48
    assert final.total("rows_total", model="odenet-mnist", version=SHIPPED.name) == 12 * (3 + 1 + 2)
    assert final.total("rows_total", model="mlp") == 12 * 4
    solves = solve_columns(answers)
    assert final.total("solver_nfe_sum") == sum(solve["nfe"] for solve in solves) + sum(outputs("nfe"))
    assert final.total("solver_nfe_count", method="dopri5") == 36
    assert final.total("solver_nfe_sum", method="rk4") == 12 * 8
    steps = sum(solve["steps"] for solve in solves) + sum(outputs("steps"))
    assert final.total("solver_steps_total") == steps
    rejected = sum(solve["rejected"] for solve in solves) + sum(outputs("rejected"))
    assert final.total("solver_steps_total", outcome="rejected") == rejected
    assert final.total("batch_rows_sum", model="odenet-mnist") == steps, "rows that attempt a step together"
    assert final.total("requested_rtol_count") == 24
    assert final.total("requested_rtol_sum") == pytest.approx(12 * (1e-3 + 1e-2))
    for phase in ("decode", "queue", "stem", "solve", "head"):
        assert final.total(f"{phase}_seconds_count") == 48
    spent = sum(answer.json()["timing_ms"]["solve"] for answer in answers if answer.status_code == 200)
    assert final.total("solve_seconds_sum") > spent / 1e3
    assert final.total("models_loaded", model="odenet-mnist") == workers
    assert final.total("rows_inflight") == final.total("rows_queued") == 0
    assert (stats["inference_count"], stats["inference_stats"]["success"]["count"]) == (48, 12)


def test_images_that_are_solved_again_are_counted_with_the_evaluations_of_all_solves(client: httpx.Client) -> None:
    before = scrape(client)
    images = DIGITS[[0, *doubtful_digits()[:2]]]
    answer = client.post("/predict", content=images.tobytes(), headers=PIXELS)
    solves = solve_columns([answer])
    assert [solve["escalated"] for solve in solves] == [False, True, True]
    until(lambda: scrape(client).total("escalated_total") == before.total("escalated_total") + 2)
    nfe = scrape(client).total("solver_nfe_sum") - before.total("solver_nfe_sum")
    assert nfe == sum(solve["nfe"] for solve in solves)


@pytest.mark.parametrize("version", ["1.0.0", "1.x.0", "abc", ""])
def test_every_requested_version_of_the_format_gets_the_metrics(client: httpx.Client, version: str) -> None:
    answer = client.get("/metrics", headers={"accept": f"application/openmetrics-text;version={version}"})
    assert answer.status_code == 200
    assert "odenet_models_loaded" in answer.text


# More requests than the service can compute.


@pytest.fixture(scope="module")
def crowded() -> Iterator[Running]:
    """A service with a short queue."""
    with running("--queue-seconds", "0.2", models=TWO_MODELS) as service:
        yield service


def test_refused_degraded_and_late_requests_are_counted_under_load(crowded: Running) -> None:
    """We send requests and scrape the metrics until each kind of request has occurred."""
    answers: list[httpx.Response] = []
    scrapes: list[Scrape] = []
    with crowded.client() as client, ThreadPoolExecutor(8) as pool:

        def happened(status: int) -> bool:
            return any(answer.status_code == status for answer in answers)

        given_up = time.monotonic() + HANG
        while not (happened(429) and happened(504) and any(solve["degraded"] for solve in solve_columns(answers))):
            assert time.monotonic() < given_up, "one kind of request does not occur"
            submitted = [
                pool.submit(predict, client, rows, tolerance=1e-5, allow_degraded=True)
                for rows in (12, 12, 12, 12, 1, 1)
            ]
            submitted += [pool.submit(predict, client, 2, tolerance=1e-5, deadline_ms=1) for _ in range(2)]
            while not all(answer.done() for answer in submitted):
                scrapes.append(scrape(client))
            answers += [answer.result() for answer in submitted]
        final = scrape(client)
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 429, 504}
    assert final.total("shed_total", reason="queue_full") == counts[429]
    assert final.total("deadline_missed_total") == counts[504]
    assert final.total("inferences_total", end="expired") == counts[504]
    assert final.total("inferences_total", end="answered") == counts[200]
    assert final.total("degraded_total") == sum(solve["degraded"] for solve in solve_columns(answers))
    assert final.total("solver_nfe_sum") == sum(solve["nfe"] for solve in solve_columns(answers))
    assert max(each.total("rows_inflight") for each in scrapes) > 0
    for name in ("rows_total", "solver_nfe_count", "request_duration_seconds_count", "batch_rows_count"):
        values = [each.total(name) for each in (*scrapes, final)]
        assert values == sorted(values), f"{name} goes back"


def test_a_disconnect_is_counted_by_the_stage_of_the_request(crowded: Running) -> None:
    head = f"POST /predict?method=heun2&tolerance=1e-6 HTTP/1.1\r\nhost: here\r\ncontent-length: {784 * 48}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in PIXELS.items())
    address = httpx.URL(crowded.url)
    with crowded.client() as client:
        before = scrape(client).total("cancelled_total", stage="solving")
        with socket.create_connection((address.host, address.port or 0)) as connection:
            connection.sendall(head.encode() + b"\r\n" + DIGITS[:48].tobytes())
            until(lambda: scrape(client).total("rows_inflight") > 0)
        until(lambda: scrape(client).total("cancelled_total", stage="solving") == before + 1)
        assert scrape(client).total("request_duration_seconds_count", status="499") == 1


# Worker processes that end.


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def workers(supervisor: int) -> list[int]:
    """The worker processes of a supervisor: the children of its fork server."""
    servers = [child for child in children(supervisor) if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()]
    return [worker for server in servers for worker in children(server)]


def test_the_counts_of_a_worker_process_remain_after_its_end() -> None:
    with running(ODENET_WORKERS="2") as service:
        for _ in range(8):
            with service.client() as client:
                assert predict(client, 2).status_code == 200
        with service.client() as client:
            until(lambda: scrape(client).total("rows_total") == 16)
        victim = workers(service.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in workers(service.process.pid) and len(workers(service.process.pid)) == 2)
        with service.client() as client:
            until(lambda: scrape(client).total("models_loaded", model="mlp") == 2)
            assert predict(client, 2).status_code == 200
            until(lambda: scrape(client).total("rows_total") == 18)


def test_the_service_removes_its_shared_folder(tmp_path: Path) -> None:
    with running(ODENET_WORKERS="2", TMPDIR=str(tmp_path)):
        assert [each.name for each in tmp_path.glob("odenet-*/*")]
    assert not list(tmp_path.glob("odenet-*"))
