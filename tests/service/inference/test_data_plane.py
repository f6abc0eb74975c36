"""The data plane plans a request, submits it to the engine, and returns its answer. It knows no protocol."""

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
from service.engine.request import Demand, EngineRequest, Priority
from service.errors import DeadlineError, InvalidError, OverloadedError, UnknownModelError
from service.hosting.manager import ModelManager
from service.inference.background import BackgroundThreads
from service.inference.data_plane import Arrival, DataPlane, InferenceRequest, solve_columns
from service.settings import Settings
from tests.digits import load_test_set
from tests.serving import FITTED
from tests.waiting import HANG

DIGITS, LABELS = load_test_set()
CALLER = "here"
TIGHT = SolverFields(method="dopri5", tolerance=1e-3)


def stays(on_disconnect: Callable[[], object]) -> None:
    """A caller that stays connected."""


class LocalPlane:
    """A data plane in this process, with its models and its engine.

    Attributes:
        ended: the requests that have ended.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("odenet-mnist", "mlp"):
            (folder / name).symlink_to(FITTED / name)
        settings = Settings(models=folder, model_control=True, queue_seconds=HANG)
        self.ended: list[EngineRequest] = []
        self.models = ModelManager.open(settings)
        self.engine = Engine(settings.queue_seconds, on_end=self.ended.append)
        self.plane = DataPlane(self.models, self.engine, BackgroundThreads(1), settings)

    def run(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """The result of a call that is made while the engine runs."""

        async def running() -> Any:
            async with self.engine.running():
                return await call()

        return asyncio.run(running())

    async def answer(self, rows: int = 3, fields: SolverFields = TIGHT, **options: Any) -> EngineRequest:
        inference = InferenceRequest(DIGITS[:rows], fields, **options)
        now = time.perf_counter()
        return await self.plane.answer(inference, Arrival(CALLER, "raw", now, now, stays))

    def answer_alone(self, rows: int = 3, fields: SolverFields = TIGHT, **options: Any) -> EngineRequest:
        """The answered request, while the engine has no other requests."""
        answered: EngineRequest = self.run(lambda: self.answer(rows, fields, **options))
        return answered


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> LocalPlane:
    return LocalPlane(tmp_path_factory.mktemp("models"))


def test_a_request_gets_its_answer(local: LocalPlane) -> None:
    answered = local.answer_alone()
    assert (answered.model.name, answered.answer.digits.tolist()) == ("odenet-mnist", LABELS[:3].tolist())
    answered = local.answer_alone(model="mlp", version="1", fields=SolverFields())
    assert (answered.model.name, answered.model.version, len(answered.answer.digits)) == ("mlp", "1", 3)


def test_an_answer_is_the_same_alone_and_in_a_batch_with_others(local: LocalPlane) -> None:
    async def at_once() -> list[EngineRequest]:
        return await asyncio.gather(*(local.answer(rows, fields) for fields in (TIGHT, loose) for rows in (1, 3, 9)))

    loose = SolverFields(method="heun2", tolerance=1)
    for fields, requests in zip((TIGHT, loose), np.reshape(np.array(local.run(at_once), object), (2, 3)), strict=True):
        alone = local.answer_alone(1, fields)
        for answered in requests:
            np.testing.assert_array_equal(answered.probabilities[0], alone.probabilities[0])


def test_an_invalid_request_never_reaches_the_engine(local: LocalPlane) -> None:
    ended = len(local.ended)
    for options, error in (
        ({"model": "lenet"}, UnknownModelError),
        ({"version": "9"}, UnknownModelError),
        ({"model": "mlp"}, InvalidError),
        ({"fields": SolverFields(method="rk4", tolerance=1)}, InvalidError),
    ):
        with pytest.raises(error):
            local.answer_alone(**options)
    assert local.ended[ended:] == []


def test_without_room_both_the_check_and_the_request_are_refused(local: LocalPlane) -> None:
    async def request() -> None:
        model = await local.models.get(None)
        local.plane.check_room(model, TIGHT, 3, Priority.high, CALLER)
        local.plane.check_room(model, TIGHT, 1, Priority.normal, "somebody else")
        with pytest.raises(OverloadedError):
            local.plane.check_room(model, TIGHT, 3, Priority.normal, CALLER)
        with pytest.raises(OverloadedError):
            await local.answer(3)
        assert len((await local.answer(3, priority=Priority.high)).images) == 3

    model = asyncio.run(local.models.get(None))
    demand = Demand.of(model, model.plan(TIGHT, 0.99), 3, Priority.normal, CALLER)
    local.engine.admission.enter(demand)
    local.engine.admission.seconds = local.engine.admission.queued_seconds / 2
    try:
        local.run(request)
    finally:
        local.engine.admission.leave(demand, 3, first=True)
        local.engine.admission.seconds = local.plane.settings.queue_seconds


def test_a_deadline_counts_from_the_first_byte_and_leaves_time_to_write_the_answer(local: LocalPlane) -> None:
    async def answer(milliseconds_before: float) -> EngineRequest:
        now = time.perf_counter()
        arrival = Arrival(CALLER, "raw", now - milliseconds_before / 1e3, now, stays)
        inference = InferenceRequest(DIGITS[:1], SolverFields(deadline_ms=10_000))
        return await local.plane.answer(inference, arrival)

    answered = local.run(lambda: answer(5_000))
    assert answered.deadline < answered.arrived_at + 5
    with pytest.raises(DeadlineError):
        local.run(lambda: answer(10_000))


def test_the_time_to_write_an_answer_is_measured_by_kind(local: LocalPlane) -> None:
    async def answer(kind: str) -> EngineRequest:
        now = time.perf_counter()
        arrival = Arrival(CALLER, kind, now, now, stays)
        answered = await local.plane.answer(InferenceRequest(DIGITS[:1], SolverFields(deadline_ms=10_000)), arrival)
        answered.answered_at = time.perf_counter() - 1.0
        local.plane.written(kind, answered)
        return answered

    slow = local.run(lambda: answer("slow"))
    for _ in range(200):
        local.plane.written("slow", slow)
    early, usual = local.run(lambda: answer("slow")), local.run(lambda: answer("fast"))
    assert early.deadline - early.arrived_at < 9.5 < usual.deadline - usual.arrived_at


def test_on_end_is_called_only_after_the_answer(local: LocalPlane) -> None:
    async def request() -> EngineRequest:
        answered = await local.answer()
        assert local.ended[ended:] == []
        await asyncio.sleep(0)
        assert local.ended[ended:] == [answered]
        return answered

    ended = len(local.ended)
    local.run(request)


def test_a_background_call_runs_in_another_thread(local: LocalPlane) -> None:
    async def call() -> tuple[int, int]:
        return (
            await local.plane.run(get_ident, in_background=False),
            await local.plane.run(get_ident, in_background=True),
        )

    on_loop, in_background = local.run(call)
    assert on_loop == get_ident()
    assert in_background != on_loop


def test_the_plane_is_ready_while_the_engine_runs_and_the_default_model_is_served(local: LocalPlane) -> None:
    async def change_models() -> list[bool]:
        ready = [await local.plane.ready()]
        for change, name in (
            (local.models.unload, "mlp"),
            (local.models.unload, "odenet-mnist"),
            (local.models.load, "mlp"),
            (local.models.load, "odenet-mnist"),
        ):
            await change(name)
            ready.append(await local.plane.ready())
        return ready

    assert local.run(change_models) == [True, True, False, False, True]
    assert asyncio.run(local.plane.ready()) is False


# The columns that describe how each image was solved.


def test_each_column_has_one_value_for_each_image(local: LocalPlane) -> None:
    answered = local.answer_alone()
    columns = solve_columns(answered)
    assert columns["method"] == ["dopri5"] * 3
    assert columns["rtol"] == columns["atol"] == [1e-3] * 3
    assert columns["nfe"] == answered.answer.nfe.tolist()
    assert columns["error_estimate"] == answered.answer.error_estimate.tolist()
    assert columns["outcome"] == ["converged"] * 3
    assert columns["escalated"] == columns["degraded"] == [False] * 3
    assert {len(column) for column in columns.values()} == {3}


def test_a_fixed_step_method_has_no_tolerances_and_no_error_estimates(local: LocalPlane) -> None:
    columns = solve_columns(local.answer_alone(2, SolverFields(method="midpoint", steps=4)))
    assert columns["rtol"] == columns["atol"] == columns["error_estimate"] == [None, None]
    assert (columns["nfe"], columns["steps"]) == ([8, 8], [4, 4])


def test_a_model_without_an_ode_has_no_columns(local: LocalPlane) -> None:
    assert solve_columns(local.answer_alone(model="mlp", fields=SolverFields())) == {}
