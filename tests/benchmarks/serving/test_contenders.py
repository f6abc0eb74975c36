"""The contenders give the same answers as the service."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import numpy as np
import pytest
import torch
from fastapi import FastAPI
from starlette.types import ASGIApp

from benchmarks.serving.contenders import bare_asgi, common, onnx_batched, onnx_single, plain_fastapi, torchdiffeq
from benchmarks.serving.forms import JSON, RAW, Form
from benchmarks.serving.requests import Digits
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.solvers.settings import SolverSettings

CONTENDERS = [torchdiffeq.create_app, onnx_single.create_app, onnx_batched.create_app]
IMAGES = 24


@pytest.fixture(scope="module")
def backend() -> OnnxBackend:
    artifact = common.load()
    return OnnxBackend(artifact.folder, artifact.manifest.methods)


@pytest.fixture(autouse=True)
def _restore_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def ask(app: FastAPI, bodies: list[bytes], queries: list[str], form: Form = RAW) -> list[httpx.Response]:
    """Send requests at the same time."""

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://contender") as client,
        ):
            posts = (
                client.post(f"/predict?{query}", content=body, headers={"Content-Type": form.content_type})
                for body, query in zip(bodies, queries, strict=True)
            )
            return await asyncio.gather(*posts)

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("create_app", CONTENDERS)
def test_a_contender_gives_the_same_answers_as_the_service(
    create_app: Callable[[], FastAPI], backend: OnnxBackend, digits: Digits
) -> None:
    images = digits.images[:IMAGES]
    expected = classify(backend, images, common.load().manifest.default_solver)
    bodies = [image.tobytes() for image in images[:-8]] + [images[-8:].tobytes()]
    answers = ask(create_app(), bodies, [""] * len(bodies))
    assert {answer.status_code for answer in answers} == {200}
    predictions = [prediction for answer in answers for prediction in answer.json()["predictions"]]
    assert [prediction["digit"] for prediction in predictions] == expected.digits.tolist()
    if create_app is torchdiffeq.create_app:
        return  # torchdiffeq uses another solver
    assert [prediction["solver"]["nfe"] for prediction in predictions] == expected.nfe.tolist()
    assert np.allclose(
        [prediction["probabilities"] for prediction in predictions], expected.probabilities(1.0), atol=1e-4
    )


def test_each_row_of_a_batch_has_its_own_tolerance(backend: OnnxBackend, digits: Digits) -> None:
    images, tolerances = digits.images[:IMAGES], [1e-1, 1e-3] * (IMAGES // 2)
    answers = ask(
        onnx_batched.create_app(), [image.tobytes() for image in images], [f"tolerance={each}" for each in tolerances]
    )
    evaluations = [answer.json()["predictions"][0]["solver"]["nfe"] for answer in answers]
    default = common.load().manifest.default_solver
    assert default is not None
    for image, tolerance, nfe in zip(images, tolerances, evaluations, strict=True):
        expected = classify(backend, image[None], SolverSettings.adaptive(default.method, tolerance))
        assert nfe == expected.nfe[0]


def test_a_contender_takes_images_as_json(digits: Digits) -> None:
    images, app = digits.images[:3], onnx_single.create_app()
    (raw,) = ask(app, [RAW.write(images)], [""], RAW)
    (json,) = ask(app, [JSON.write(images)], [""], JSON)
    assert json.json() == raw.json()


@pytest.mark.parametrize("create_app", [bare_asgi.create_app, plain_fastapi.create_app])
def test_a_floor_answers_with_600_bytes(create_app: Callable[[], ASGIApp], digits: Digits) -> None:
    transport = httpx.ASGITransport(create_app())

    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://floor") as client:
            return await client.post("/predict", content=digits.images[0].tobytes())

    answer = asyncio.run(post())
    assert answer.status_code == 200
    assert len(answer.content) == 600


@pytest.mark.parametrize("create_app", CONTENDERS)
def test_a_contender_refuses_a_body_that_is_not_an_image(create_app: Callable[[], FastAPI]) -> None:
    assert [answer.status_code for answer in ask(create_app(), [b"short", b""], ["", ""])] == [400, 400]
