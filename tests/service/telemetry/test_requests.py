"""Each request has an id, which is in the answer and in the log, for every status."""

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from service.api import errors, problems
from service.api.gateway import Gateway
from service.telemetry.access import ID
from service.telemetry.metrics import Metrics
from tests.digits import load_test_set
from tests.serving import TWO_MODELS, Running, running

pytestmark = pytest.mark.system

DIGITS = load_test_set()[0]
PIXELS = {"content-type": "application/octet-stream"}


@pytest.fixture(scope="module")
def service() -> Iterator[Running]:
    """A service that logs JSON."""
    with running("--log-format", "json", "--max-body-bytes", "2000", models=TWO_MODELS) as service:
        yield service


@pytest.fixture(scope="module")
def client(service: Running) -> Iterator[httpx.Client]:
    with service.client() as client:
        yield client


REQUESTS = {
    "answered": ("POST", "/predict", DIGITS[0].tobytes(), 200),
    "invalid": ("POST", "/predict?tolerance=-1", DIGITS[0].tobytes(), 422),
    "too large": ("POST", "/predict", bytes(3000), 413),
    "unknown": ("GET", "/nowhere", b"", 404),
    "a method that is not allowed": ("DELETE", "/predict", b"", 405),
    "protocol": ("GET", "/v2/nowhere", b"", 404),
}


@pytest.mark.parametrize(("method", "path", "body", "status"), REQUESTS.values(), ids=REQUESTS)
def test_every_answer_repeats_the_id_of_the_request(
    client: httpx.Client, method: str, path: str, body: bytes, status: int
) -> None:
    answer = client.request(method, path, content=body, headers=PIXELS | {"X-Request-Id": "4b-7:f"})
    assert answer.status_code == status
    assert answer.headers["x-request-id"] == "4b-7:f"


def test_a_request_without_an_id_gets_a_new_one(client: httpx.Client) -> None:
    ids = {client.get("/health/live").headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20
    assert all(ID.fullmatch(each) for each in ids)


@pytest.mark.parametrize("given_id", ["", "two words", "x" * 129, "naïve".encode().decode("latin-1")])
def test_an_invalid_id_is_replaced(client: httpx.Client, given_id: str) -> None:
    answer = client.get("/health/live", headers={b"x-request-id": given_id.encode("latin-1")})
    assert answer.headers["x-request-id"] != given_id
    assert ID.fullmatch(answer.headers["x-request-id"])


def broken() -> FastAPI:
    """An app whose route raises an exception, with the error handlers and the gateway of the service."""
    app = FastAPI()
    answers = errors.ErrorAnswers({}, problems.problem_response, lambda _: None)
    answers.install(app)

    @app.get("/fault")
    async def fault() -> None:
        raise RuntimeError("a fault")

    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: Gateway(  # type: ignore[method-assign]
        build(), [], answers, Metrics(), None, 2000, [], lambda _: []
    )
    return app


def test_the_answer_to_an_exception_has_the_id_and_no_details_of_the_exception() -> None:
    async def request() -> httpx.Response:
        transport = httpx.ASGITransport(broken(), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.get("/fault", headers={"x-request-id": "seven"})

    answer = asyncio.run(request())
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "seven"
    assert "a fault" not in answer.text


# The log.


def logged(service: Running, request_id: str) -> list[dict[str, object]]:
    """The log records of a request. Every line of the log is a JSON object."""
    records = [json.loads(line) for line in service.log]
    return [record for record in records if record.get("request_id") == request_id]


def test_the_log_has_the_route_the_status_and_the_cost_of_each_request() -> None:
    with running("--log-format", "json", models=TWO_MODELS) as service:
        with service.client() as client:
            headers = PIXELS | {"X-Request-Id": "a-digit"}
            answer = client.post("/predict?tolerance=1e-3", content=DIGITS[:2].tobytes(), headers=headers)
            client.get("/v2/models/a%0Ab%22", headers={"X-Request-Id": "odd"})
            for path in ("/health/ready", "/v2/health/live", "/metrics"):
                client.get(path, headers={"X-Request-Id": "monitoring"})
        nfe = sum(each["solver"]["nfe"] for each in answer.json()["predictions"])
    (record,) = logged(service, "a-digit")
    assert record["level"] == "INFO"
    expected = {"method": "POST", "route": "/predict", "status": 200, "model": "odenet-mnist", "images": 2, "nfe": nfe}
    assert {name: record[name] for name in expected} == expected
    assert isinstance(record["duration_ms"], float)
    assert datetime.fromisoformat(str(record["time"])).tzinfo is not None
    assert not logged(service, "monitoring")
    (odd,) = logged(service, "odd")
    assert (odd["route"], odd["status"]) == ("/v2/models/{name}", 404)
    assert "a%0Ab%22" in str(odd["message"])


def test_a_request_is_one_line_of_the_text_log_whatever_its_path() -> None:
    with running() as service, service.client() as client:
        client.get("/nowhere%0AINFO:%20POST%20/predict%20200", headers={"X-Request-Id": "injected"})
    (line,) = [line for line in service.log if "injected" in line]
    assert line.startswith("INFO: GET /nowhere%0AINFO:%20POST%20/predict%20200 404 in ")
    assert line.endswith("ms [injected]\n")


@given(st.text())
def test_only_a_short_printable_ascii_text_is_a_valid_id(text: str) -> None:
    valid = ID.fullmatch(text) is not None
    assert valid == (0 < len(text) <= 128 and text.isascii() and text.isprintable() and " " not in text)
