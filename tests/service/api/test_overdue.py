"""The answer to a request that was admitted, and that other work then delays for longer than the queue promises."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.engine.request import Demand, Priority
from service.settings import Settings
from tests.artifacts import MLP, put
from tests.digits import load_test_set
from tests.service.api.v2.infer_requests import tensor

DIGITS = load_test_set()[0]
OTHER = Demand("another caller", Priority.normal, rows=1, image_work=1_000_000)


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    put(tmp_path, "mlp", "1", MLP)
    return create_app(Settings(models=tmp_path, model="mlp"))


async def answer_late(app: FastAPI, path: str, **body: Any) -> tuple[httpx.Response, str]:
    """The answer to a request, and the metrics after it.

    The request is admitted. Before the first iteration of the engine, more time passes than the queue promises: any
    time at all. The request of another caller still waits.
    """
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app) as state,
        httpx.AsyncClient(transport=transport, base_url="http://here") as client,
    ):
        assert state is not None
        admission = state["plane"].engine.admission
        admission.enter(OTHER)
        admission.seconds = admission.pace = 0.0
        answer = await client.post(path, **body)
        assert admission.rows == OTHER.rows, "the request has left the queue"
        return answer, (await client.get("/metrics")).text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/predict", {"content": DIGITS[0].tobytes(), "headers": {"content-type": "application/octet-stream"}}),
        ("/predict", {"json": {"images": DIGITS[:5].tolist()}}),
        ("/v2/models/mlp/infer", {"json": {"inputs": [tensor(DIGITS[:1])[0]]}}),
    ],
    ids=["one image", "a list", "the Open Inference Protocol"],
)
def test_an_overdue_request_is_refused_like_one_that_is_not_admitted(
    app: FastAPI, path: str, body: dict[str, Any]
) -> None:
    answer, metrics = asyncio.run(answer_late(app, path, **body))
    assert answer.status_code == 429, answer.text
    assert answer.headers["retry-after"] == "1"
    assert "other work may delay a request by 0 s; retry after 1 s" in answer.text
    assert 'odenet_inferences_total{end="overdue",model="mlp",version="1"} 1.0' in metrics
    assert 'odenet_shed_total{reason="queue_full"} 1.0' in metrics
