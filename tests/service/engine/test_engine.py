"""The engine in its thread, asked from an event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.plan import SolverFields
from service.engine.request import End, EngineRequest, Priority
from service.errors import AbandonedError, ComputationError, DeadlineError, OverloadedError, StoppingError
from tests.service.engine.driving import DIGITS, assert_answered_as_alone
from tests.service.engine.failing import Device, FailingBackend
from tests.serving import SHIPPED
from tests.waiting import HANG

LONG: dict[str, Any] = {"method": "heun2", "tolerance": 1e-6}
"""At which an image takes some eight hundred evaluations."""

LONG_NFE = 500


@pytest.fixture
def warm(model: ServedModel) -> ServedModel:
    return ServedModel.warm(model.artifact, model.backend)


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        task = asyncio.create_task(test())
        await asyncio.wait({task}, timeout=HANG)
        assert task.done(), "it hangs"
        await task

    asyncio.run(bounded())


async def stays() -> None:
    """A caller that stays."""
    await asyncio.Event().wait()


def job_of(model: ServedModel, rows: int = 1, priority: Priority = Priority.normal, **fields: Any) -> EngineRequest:
    arrived = asyncio.get_running_loop().time()
    return EngineRequest(model, DIGITS[:rows], model.plan(SolverFields(**fields), 0.99), arrived, arrived, priority)


async def begun(request: EngineRequest) -> None:
    while not request.started:
        await asyncio.sleep(0)


@pytest.mark.parametrize("threads", [1, 2])
def test_jobs_that_are_asked_together_get_each_their_own_answer(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=1024, threads=threads)
        async with engine.running():
            requests = [
                job_of(warm, rows, tolerance=tolerance) for rows in (1, 3, 8) for tolerance in (1e-1, 1e-3, 1e-5)
            ]
            await asyncio.gather(*(engine.answer(request, stays) for request in requests))
        for request in requests:
            assert_answered_as_alone(request)
        assert engine.counts.requests[End.answered] == len(requests)
        assert engine.counts.begun == sum(len(request.images) for request in requests)
        assert engine.admission.waiting() == 0

    run(test)


def test_a_thread_that_has_nothing_to_do_is_asked_first(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=1024, threads=2)
        async with engine.running():
            long = job_of(warm, 64, **LONG)
            answer = asyncio.create_task(engine.answer(long, stays))
            await begun(long)
            for _ in range(5):
                await engine.answer(job_of(warm, method="heun2", tolerance=1e-6), stays)
            assert not long.end
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


def test_an_engine_that_does_not_run_says_so(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=8)
        with pytest.raises(StoppingError):
            await engine.answer(job_of(warm), stays)
        async with engine.running():
            await engine.answer(job_of(warm), stays)
        with pytest.raises(StoppingError):
            await engine.answer(job_of(warm), stays)
        assert engine.admission.waiting() == 0

    run(test)


def test_what_nobody_waits_for_any_more_is_given_up(warm: ServedModel) -> None:
    async def test() -> None:
        engine, gone = Engine(queue_rows=64), asyncio.Event()

        async def leaves() -> None:
            await gone.wait()

        async with engine.running():
            request = job_of(warm, 64, **LONG)
            answer = asyncio.create_task(engine.answer(request, leaves))
            await begun(request)
            gone.set()
            with pytest.raises(AbandonedError):
                await answer
            await engine.answer(job_of(warm), stays)
        assert engine.counts.requests[End.cancelled] == 1
        assert engine.counts.evaluations < 64 * LONG_NFE / 2
        assert engine.admission.waiting() == 0

    run(test)


def test_who_finds_the_queue_full_is_refused_and_takes_nothing_from_it(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=30)
        async with engine.running():
            first = job_of(warm, 30, **LONG)
            answer = asyncio.create_task(engine.answer(first, stays))
            await asyncio.sleep(0)
            with pytest.raises(OverloadedError) as refused:
                await engine.answer(job_of(warm, 30), stays)
            assert refused.value.retry_after >= 1
            await engine.answer(job_of(warm, 1, priority=Priority.high), stays)
            assert not first.end
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


def test_a_deadline_that_cannot_be_met_is_said_to_have_passed(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=64)
        async with engine.running():
            with pytest.raises(DeadlineError) as passed:
                await engine.answer(job_of(warm, 64, deadline_ms=1, **LONG), stays)
        assert [(error.field, error.value) for error in passed.value.errors] == [("deadline_ms", "1")]

    run(test)


def test_what_is_not_answered_when_it_stops_ends_as_stopped(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=1024)
        async with engine.running():
            requests = [job_of(warm, 50, **LONG) for _ in range(3)]
            answers = [asyncio.create_task(engine.answer(request, stays)) for request in requests]
            await begun(requests[0])
        for answer in answers:
            with pytest.raises(StoppingError):
                await answer
        assert engine.counts.requests[End.stopped] == 3

    run(test)


def test_what_is_asked_while_it_stops_ends_as_stopped_too(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=1024)
        async with engine.running():
            busy = job_of(warm, 64, **LONG)
            answers = [asyncio.create_task(engine.answer(busy, stays))]
            await begun(busy)
            answers += [asyncio.create_task(engine.answer(job_of(warm, **LONG), stays)) for _ in range(3)]
            # Those are asked once this function waits, which is for the engine to stop.
        ended = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(error) for error in ended] == [StoppingError] * 4

    run(test)


def test_it_may_run_again(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_rows=64)
        for _ in range(2):
            async with engine.running():
                request = job_of(warm, 3, tolerance=1e-2)
                await engine.answer(request, stays)
            assert_answered_as_alone(request)

    run(test)


@pytest.mark.parametrize("part", ["memory", "stem", "step", "head"])
def test_a_computation_that_fails_ends_who_waits_for_it_and_the_next_is_served(model: ServedModel, part: str) -> None:
    device = Device()
    backend = FailingBackend(SHIPPED, model.artifact.manifest.methods, device)
    warm = ServedModel.warm(model.artifact, backend)

    async def test() -> None:
        engine = Engine(queue_rows=64)
        async with engine.running():
            fine = job_of(warm, 20, method="bosh3", tolerance=1e-4)
            other = asyncio.create_task(engine.answer(fine, stays))
            with device.broken(part, "dopri5"), pytest.raises(ComputationError, match="odenet-mnist"):
                await engine.answer(job_of(warm, 20, method="dopri5"), stays)
            after = job_of(warm, 3, method="dopri5")
            await engine.answer(after, stays)
            await other
        assert_answered_as_alone(fine)
        assert_answered_as_alone(after)

    run(test)
