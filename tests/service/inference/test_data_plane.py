"""The data plane: from a request for inference to its answer, without any protocol."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from threading import get_ident
from typing import Any

import numpy as np
import pytest

from service.engine.engine import Engine
from service.engine.plan import SolverFields
from service.engine.request import EngineRequest, Priority
from service.errors import InvalidError, OverloadedError, UnknownModelError
from service.hosting.manager import ModelManager
from service.inference.background import BackgroundThreads
from service.inference.data_plane import DataPlane, InferenceRequest, solve_columns
from service.settings import Settings
from tests.digits import load_test_set
from tests.serving import FITTED

DIGITS, LABELS = load_test_set()
QUEUE_ROWS = 64
TIGHT = SolverFields(method="dopri5", tolerance=1e-3)


async def stays() -> None:
    """A caller that stays connected."""
    await asyncio.Event().wait()


class Here:
    """A data plane in this process.

    Attributes:
        ended: the engine requests that have ended.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("odenet-mnist", "mlp"):
            (folder / name).symlink_to(FITTED / name)
        settings = Settings(models=folder, queue_rows=QUEUE_ROWS, max_images=QUEUE_ROWS, model_control=True)
        self.ended: list[EngineRequest] = []
        self.models = ModelManager.open(settings)
        self.engine = Engine(QUEUE_ROWS)
        self.plane = DataPlane(self.models, self.engine, BackgroundThreads(1), settings, self.ended.append)

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call while the engine runs."""

        async def running() -> Any:
            async with self.engine.running():
                return await call()

        return asyncio.run(running())

    async def answer(self, rows: int = 3, fields: SolverFields = TIGHT, **parameters: Any) -> EngineRequest:
        inference = InferenceRequest(DIGITS[:rows], fields, **parameters)
        return await self.plane.answer(inference, time.perf_counter(), stays)

    def answered(self, rows: int = 3, fields: SolverFields = TIGHT, **parameters: Any) -> EngineRequest:
        """A request that is answered alone."""
        answered: EngineRequest = self.run(lambda: self.answer(rows, fields, **parameters))
        return answered


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    return Here(tmp_path_factory.mktemp("models"))


def test_a_request_gets_its_answer(here: Here) -> None:
    request = here.answered()
    assert (request.model.name, request.answer.digits.tolist()) == ("odenet-mnist", LABELS[:3].tolist())
    request = here.answered(model="mlp", version="1", fields=SolverFields())
    assert (request.model.name, request.model.version, len(request.answer.digits)) == ("mlp", "1", 3)


def test_an_answer_is_the_same_alone_and_with_other_requests(here: Here) -> None:
    async def at_once() -> list[EngineRequest]:
        return await asyncio.gather(*(here.answer(rows, fields) for fields in (TIGHT, loose) for rows in (1, 3, 9)))

    loose = SolverFields(method="heun2", tolerance=1)
    for fields, requests in zip((TIGHT, loose), np.reshape(np.array(here.run(at_once), object), (2, 3)), strict=True):
        alone = here.answered(1, fields)
        for request in requests:
            np.testing.assert_array_equal(request.probabilities[0], alone.probabilities[0])


def test_a_wrong_request_never_reaches_the_engine(here: Here) -> None:
    ended = len(here.ended)
    for parameters, error in (
        ({"model": "lenet"}, UnknownModelError),
        ({"version": "9"}, UnknownModelError),
        ({"model": "mlp"}, InvalidError),
        ({"fields": SolverFields(method="rk4", tolerance=1)}, InvalidError),
    ):
        with pytest.raises(error):
            here.answered(**parameters)
    assert here.ended[ended:] == []


def test_a_full_queue_refuses_a_request_before_and_when_it_is_submitted(here: Here) -> None:
    async def answer() -> None:
        here.plane.check_room(QUEUE_ROWS, Priority.high)
        with pytest.raises(OverloadedError):
            here.plane.check_room(1, Priority.normal)
        with pytest.raises(OverloadedError):
            await here.answer(1)
        assert len((await here.answer(1, priority=Priority.high)).images) == 1

    here.engine.admission.enter(QUEUE_ROWS, Priority.normal)
    try:
        here.run(answer)
    finally:
        here.engine.admission.leave(QUEUE_ROWS, Priority.normal)


def test_each_request_that_has_ended_is_reported_after_its_answer(here: Here) -> None:
    async def answer() -> EngineRequest:
        request = await here.answer()
        assert here.ended[ended:] == []
        await asyncio.sleep(0)
        assert here.ended[ended:] == [request]
        return request

    ended = len(here.ended)
    here.run(answer)


def test_a_long_call_runs_in_a_background_thread(here: Here) -> None:
    async def call() -> tuple[int, int]:
        return (
            await here.plane.run(get_ident, in_background=False),
            await here.plane.run(get_ident, in_background=True),
        )

    here_thread, background_thread = here.run(call)
    assert here_thread == get_ident()
    assert background_thread != here_thread


def test_the_data_plane_is_ready_while_the_engine_runs_and_the_default_model_is_served(here: Here) -> None:
    async def look() -> list[bool]:
        states = [await here.plane.ready()]
        for change, name in (
            (here.models.unload, "mlp"),
            (here.models.unload, "odenet-mnist"),
            (here.models.load, "mlp"),
            (here.models.load, "odenet-mnist"),
        ):
            await change(name)
            states.append(await here.plane.ready())
        return states

    assert here.run(look) == [True, True, False, False, True]
    assert asyncio.run(here.plane.ready()) is False


# How the images of an answer were solved.


def test_a_solve_has_columns_with_a_value_for_each_image(here: Here) -> None:
    request = here.answered()
    columns = solve_columns(request)
    assert columns["method"] == ["dopri5"] * 3
    assert columns["rtol"] == columns["atol"] == [1e-3] * 3
    assert columns["nfe"] == request.answer.nfe.tolist()
    assert columns["error_estimate"] == request.answer.error_estimate.tolist()
    assert columns["outcome"] == ["converged"] * 3
    assert columns["degraded"] == [False] * 3
    assert {len(column) for column in columns.values()} == {3}


def test_a_fixed_step_method_has_no_tolerances_and_no_error_estimates(here: Here) -> None:
    columns = solve_columns(here.answered(2, SolverFields(method="midpoint", steps=4)))
    assert columns["rtol"] == columns["atol"] == columns["error_estimate"] == [None, None]
    assert (columns["nfe"], columns["steps"]) == ([8, 8], [4, 4])


def test_a_model_without_an_ode_has_no_columns(here: Here) -> None:
    assert solve_columns(here.answered(model="mlp", fields=SolverFields())) == {}
