"""The engine with its threads, called from an event loop."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import get_ident
from typing import Any

import pytest

from service.engine import runners
from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.plan import SolverFields
from service.engine.request import End, EngineRequest, Priority
from service.errors import AbandonedError, ComputationError, DeadlineError, OverloadedError, StoppingError
from tests.service.engine.device import Device
from tests.service.engine.driving import DEVICE, DIGITS, assert_answered_as_alone, served
from tests.waiting import HANG, until_others

LONG: dict[str, Any] = {"method": "heun2", "tolerance": 1e-6}
"""Solver fields with which an image takes some eight hundred evaluations."""

LONG_NFE = 500
"""With these fields, an image takes at least this many evaluations."""


@pytest.fixture
def warm(model: ServedModel) -> ServedModel:
    return ServedModel.warm(model.artifact, model.backend)


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    async def bounded() -> None:
        task = asyncio.create_task(test())
        await asyncio.wait({task}, timeout=HANG)
        assert task.done(), f"the test hangs for more than {HANG} s"
        await task

    asyncio.run(bounded())


def stays(on_disconnect: Callable[[], object]) -> None:
    """A caller that stays connected."""


either_way = pytest.mark.parametrize("threads", [0, 1], ids=["in the event loop", "in a thread"])


def request_to(model: ServedModel, rows: int = 1, priority: Priority = Priority.normal, **fields: Any) -> EngineRequest:
    now = asyncio.get_running_loop().time()
    return EngineRequest(model, DIGITS[:rows], model.plan(SolverFields(**fields), 0.99), now, now, priority)


async def started(request: EngineRequest) -> None:
    while not request.started:
        await asyncio.sleep(0)


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_requests_at_the_same_time_get_their_own_answers(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            requests = [
                request_to(warm, rows, tolerance=tolerance) for rows in (1, 3, 8) for tolerance in (1e-1, 1e-3, 1e-5)
            ]
            await asyncio.gather(*(engine.answer(request, stays) for request in requests))
        for request in requests:
            assert_answered_as_alone(request)
        assert engine.rows == 0
        assert engine.admission.rows == 0

    run(test)


def test_a_request_goes_to_the_thread_with_the_least_load(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=2)
        async with engine.running():
            long = request_to(warm, 64, **LONG)
            answer = asyncio.create_task(engine.answer(long, stays))
            await started(long)
            for _ in range(5):
                await engine.answer(request_to(warm, method="heun2", tolerance=1e-4), stays)
            assert not long.end
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


@either_way
def test_an_engine_that_is_not_running_refuses_requests(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        with pytest.raises(StoppingError):
            await engine.answer(request_to(warm), stays)
        async with engine.running():
            await engine.answer(request_to(warm), stays)
        with pytest.raises(StoppingError):
            await engine.answer(request_to(warm), stays)
        assert engine.admission.rows == 0

    run(test)


@either_way
def test_a_request_ends_when_its_caller_disconnects(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine, disconnect, before = (
            Engine(queue_seconds=60, threads=threads),
            list[Callable[[], object]](),
            DEVICE.evaluations,
        )
        async with engine.running():
            request = request_to(warm, 64, **LONG)
            answer = asyncio.create_task(engine.answer(request, disconnect.append))
            await started(request)
            disconnect[0]()
            with pytest.raises(AbandonedError):
                await answer
            await engine.answer(request_to(warm), stays)
        assert request.end is End.cancelled
        assert DEVICE.evaluations - before < 64 * LONG_NFE / 2
        assert engine.admission.rows == 0

    run(test)


@either_way
def test_a_request_is_refused_when_the_queue_is_full_and_takes_no_room(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=0.001, threads=threads)
        async with engine.running():
            first = request_to(warm, 64, **LONG)
            answer = asyncio.create_task(engine.answer(first, stays))
            await started(first)
            with pytest.raises(OverloadedError) as refused:
                await engine.answer(request_to(warm, 64, **LONG), stays)
            assert refused.value.retry_after >= 1
            await engine.answer(request_to(warm, 1, priority=Priority.high), stays)
            assert not first.end
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


@either_way
def test_a_deadline_that_cannot_be_met_is_an_error(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            with pytest.raises(DeadlineError) as passed:
                await engine.answer(request_to(warm, 64, deadline_ms=1, **LONG), stays)
        assert [(error.field, error.value) for error in passed.value.errors] == [("deadline_ms", "1")]

    run(test)


@either_way
def test_a_change_is_reported_when_a_request_leaves_an_idle_engine_at_once(warm: ServedModel, threads: int) -> None:
    """Otherwise the metrics would show the request in the queue until the next request."""

    async def test() -> None:
        queued = list[int]()
        engine = Engine(queue_seconds=60, threads=threads, on_change=lambda _: queued.append(engine.admission.rows))
        async with engine.running():
            with pytest.raises(DeadlineError):
                await engine.answer(request_to(warm, 64, deadline_ms=1, **LONG), stays)
        assert queued[-1] == 0

    run(test)


@either_way
def test_unanswered_requests_end_as_stopped_when_the_engine_stops(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            requests = [request_to(warm, 50, **LONG) for _ in range(3)]
            answers = [asyncio.create_task(engine.answer(request, stays)) for request in requests]
            await started(requests[0])
        for answer in answers:
            with pytest.raises(StoppingError):
                await answer
        assert [request.end for request in requests] == [End.stopped] * 3

    run(test)


@either_way
def test_requests_that_come_while_the_engine_stops_end_as_stopped(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            busy = request_to(warm, 64, **LONG)
            answers = [asyncio.create_task(engine.answer(busy, stays))]
            await started(busy)
            answers += [asyncio.create_task(engine.answer(request_to(warm, **LONG), stays)) for _ in range(3)]
            # These tasks begin when this function first waits: for the engine to stop.
        ended = await asyncio.gather(*answers, return_exceptions=True)
        assert [type(error) for error in ended] == [StoppingError] * 4

    run(test)


@either_way
def test_a_request_whose_task_is_cancelled_is_reported_once_it_has_ended(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        reported = list[EngineRequest]()
        engine = Engine(queue_seconds=60, threads=threads, on_end=reported.append)
        request = request_to(warm, 64, **LONG)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request, stays))
            await started(request)
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer
            await until_others(lambda: reported)
        assert reported == [request]
        assert request.end is End.cancelled

    run(test)


@either_way
def test_an_engine_may_run_again(warm: ServedModel, threads: int) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        for _ in range(2):
            async with engine.running():
                request = request_to(warm, 3, tolerance=1e-2)
                await engine.answer(request, stays)
            assert_answered_as_alone(request)

    run(test)


# Without threads, the event loop computes.


class WatchedDevice(Device):
    """A device that notes which threads use it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads = set[int]()

    def use(self, part: str, method: str | None) -> None:
        super().use(part, method)
        self.threads.add(get_ident())


@pytest.mark.parametrize("threads", [0, 1, 2])
def test_the_event_loop_computes_if_the_engine_has_no_threads(threads: int) -> None:
    device = WatchedDevice()
    model = served("odenet-mnist", device)

    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            requests = [request_to(model), request_to(model, 3), request_to(model, **LONG)]
            await asyncio.gather(*(engine.answer(request, stays) for request in requests))
        for request in requests:
            assert_answered_as_alone(request)
        assert len(device.threads) == max(1, threads)
        assert (get_ident() in device.threads) == (threads == 0)
        assert engine.rows == engine.admission.rows == 0

    run(test)


def test_the_event_loop_serves_its_connections_between_two_iterations() -> None:
    model = served("odenet-mnist", Device())

    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=0)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(long := request_to(model, **LONG), stays))
            turns = 0
            while not answer.done():
                await asyncio.sleep(0)
                turns += 1
        assert turns > int(long.answer.steps.max())

    run(test)


def test_an_iteration_in_the_event_loop_waits_for_expected_requests(
    warm: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "EXPECT_SECONDS", HANG)
    rows = list[int]()

    async def test() -> None:
        engine = Engine(60, threads=0, on_change=lambda iteration: rows.append(iteration.rows) if iteration else None)
        async with engine.running():
            tasks = [asyncio.create_task(engine.answer(request_to(warm), stays))]
            for _ in range(2):  # the second one is expected only after the first one has arrived
                with engine.expecting():
                    for _ in range(20):
                        await asyncio.sleep(0)
                tasks.append(asyncio.create_task(engine.answer(request_to(warm), stays)))
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not rows
            await asyncio.gather(*tasks)

    run(test)
    assert rows[0] == 3


def test_requests_are_answered_while_an_expected_request_does_not_come(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=0)
        async with engine.running():
            with engine.expecting():
                for _ in range(2):
                    await engine.answer(request := request_to(warm), stays)
        assert_answered_as_alone(request)

    run(test)


def test_requests_after_one_in_the_event_loop_are_answered(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=0)
        async with engine.running():
            requests = [request_to(warm, rows) for rows in (1, 3, 1, 1)]
            for request in requests:
                await engine.answer(request, stays)
            requests += [request_to(warm, 3), request_to(warm)]
            await asyncio.gather(*(engine.answer(request, stays) for request in requests[4:]))
        for request in requests:
            assert_answered_as_alone(request)

    run(test)


def test_a_request_that_is_cancelled_before_it_starts_ends_as_stopped(warm: ServedModel) -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=0)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request_to(warm), stays))
            await asyncio.sleep(0)
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer
            assert engine.admission.rows == 0

    run(test)


@either_way
@pytest.mark.parametrize("part", ["memory", "stem", "step", "head"])
def test_a_failing_computation_is_an_error_and_the_next_request_is_answered(part: str, threads: int) -> None:
    device = Device()
    model = served("odenet-mnist", device)

    async def test() -> None:
        engine = Engine(queue_seconds=60, threads=threads)
        async with engine.running():
            fine = request_to(model, 20, method="bosh3", tolerance=1e-4)
            other = asyncio.create_task(engine.answer(fine, stays))
            with device.broken(part, "dopri5"), pytest.raises(ComputationError, match="odenet-mnist"):
                await engine.answer(request_to(model, 20, method="dopri5"), stays)
            after = request_to(model, 3, method="dopri5")
            await engine.answer(after, stays)
            await other
        assert_answered_as_alone(fine)
        assert_answered_as_alone(after)

    run(test)
