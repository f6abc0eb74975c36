"""From what a request asks to the job that has its answer, knowing nothing of protocols."""

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
    """Wait for the answer, however long that takes."""
    await asyncio.Event().wait()


class Here:
    """A data plane in this process.

    Attributes:
        ended: the requests that did.
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
        """What a call comes to while the engine runs."""

        async def running() -> Any:
            async with self.engine.running():
                return await call()

        return asyncio.run(running())

    async def ask(self, rows: int = 3, fields: SolverFields = TIGHT, **asked: Any) -> EngineRequest:
        return await self.plane.answer(InferenceRequest(DIGITS[:rows], fields, **asked), time.perf_counter(), stays)

    def job(self, rows: int = 3, fields: SolverFields = TIGHT, **asked: Any) -> EngineRequest:
        """The job of a request that is alone."""
        job: EngineRequest = self.run(lambda: self.ask(rows, fields, **asked))
        return job


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    return Here(tmp_path_factory.mktemp("models"))


def test_a_job_has_its_answer(here: Here) -> None:
    job = here.job()
    assert (job.model.name, job.answer.digits.tolist()) == ("odenet-mnist", LABELS[:3].tolist())
    job = here.job(model="mlp", version="1", fields=SolverFields())
    assert (job.model.name, job.model.version, len(job.answer.digits)) == ("mlp", "1", 3)


def test_an_answer_is_the_same_alone_and_beside_others(here: Here) -> None:
    async def at_once() -> list[EngineRequest]:
        return await asyncio.gather(*(here.ask(rows, fields) for fields in (TIGHT, loose) for rows in (1, 3, 9)))

    loose = SolverFields(method="heun2", tolerance=1)
    for fields, requests in zip((TIGHT, loose), np.reshape(np.array(here.run(at_once), object), (2, 3)), strict=True):
        alone = here.job(1, fields)
        for job in requests:
            np.testing.assert_array_equal(job.probabilities[0], alone.probabilities[0])


def test_what_is_asked_wrongly_never_begins(here: Here) -> None:
    ended = len(here.ended)
    for asked, error in (
        ({"model": "lenet"}, UnknownModelError),
        ({"version": "9"}, UnknownModelError),
        ({"model": "mlp"}, InvalidError),
        ({"fields": SolverFields(method="rk4", tolerance=1)}, InvalidError),
    ):
        with pytest.raises(error):
            here.job(**asked)
    assert here.ended[ended:] == []


def test_who_finds_no_room_is_told_so_before_and_when_it_asks(here: Here) -> None:
    async def ask() -> None:
        here.plane.check_room(QUEUE_ROWS, Priority.high)
        with pytest.raises(OverloadedError):
            here.plane.check_room(1, Priority.normal)
        with pytest.raises(OverloadedError):
            await here.ask(1)
        assert len((await here.ask(1, priority=Priority.high)).images) == 1

    here.engine.admission.enter(QUEUE_ROWS, Priority.normal)
    try:
        here.run(ask)
    finally:
        here.engine.admission.leave(QUEUE_ROWS, Priority.normal)


def test_each_job_that_has_ended_is_told_after_its_answer(here: Here) -> None:
    async def ask() -> EngineRequest:
        job = await here.ask()
        assert here.ended[ended:] == []
        await asyncio.sleep(0)
        assert here.ended[ended:] == [job]
        return job

    ended = len(here.ended)
    here.run(ask)


def test_what_takes_long_is_called_beside_the_event_loop(here: Here) -> None:
    async def call() -> tuple[int, int]:
        return (
            await here.plane.run(get_ident, in_background=False),
            await here.plane.run(get_ident, in_background=True),
        )

    within, beside = here.run(call)
    assert within == get_ident()
    assert beside != within


def test_it_is_ready_while_the_engine_runs_and_the_default_model_is_served(here: Here) -> None:
    async def look() -> list[bool]:
        told = [await here.plane.ready()]
        for change, name in (
            (here.models.unload, "mlp"),
            (here.models.unload, "odenet-mnist"),
            (here.models.load, "mlp"),
            (here.models.load, "odenet-mnist"),
        ):
            await change(name)
            told.append(await here.plane.ready())
        return told

    assert here.run(look) == [True, True, False, False, True]
    assert asyncio.run(here.plane.ready()) is False


# How an answer was come by.


def test_a_solve_is_told_by_columns_of_a_value_for_each_image(here: Here) -> None:
    job = here.job()
    told = solve_columns(job)
    assert told["method"] == ["dopri5"] * 3
    assert told["rtol"] == told["atol"] == [1e-3] * 3
    assert told["nfe"] == job.answer.nfe.tolist()
    assert told["error_estimate"] == job.answer.error_estimate.tolist()
    assert told["outcome"] == ["converged"] * 3
    assert told["degraded"] == [False] * 3
    assert {len(column) for column in told.values()} == {3}


def test_a_method_of_fixed_steps_has_no_tolerances_and_estimates_no_errors(here: Here) -> None:
    told = solve_columns(here.job(2, SolverFields(method="midpoint", steps=4)))
    assert told["rtol"] == told["atol"] == told["error_estimate"] == [None, None]
    assert (told["nfe"], told["steps"]) == ([8, 8], [4, 4])


def test_of_a_model_without_an_ode_there_is_nothing_to_tell(here: Here) -> None:
    assert solve_columns(here.job(model="mlp", fields=SolverFields())) == {}
