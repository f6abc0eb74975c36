"""An engine whose own thread fails: what that ends, and how it is seen from outside."""

import asyncio
from dataclasses import replace
from threading import Event

import pytest

from models.solvers.methods import METHODS
from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.request import End
from service.engine.scheduler import Iteration
from service.errors import ComputationError, StoppingError
from tests.service.engine.driving import assert_answered_as_alone, served
from tests.service.engine.failing import Device, FailingBackend
from tests.service.engine.test_engine import job_of, run, stays
from tests.serving import SHIPPED
from tests.waiting import until_others


class Hanging(Device):
    """A device that answers when it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = Event()

    def use(self, part: str, method: str | None) -> None:
        self.free.wait()


class Deadly(Device):
    """A device that takes the thread down which uses it."""

    def use(self, part: str, method: str | None) -> None:
        raise SystemExit


def on(device: Device) -> ServedModel:
    return served("odenet-mnist", FailingBackend(SHIPPED, METHODS, device))


def test_a_thread_that_hangs_is_a_failure_until_it_goes_on() -> None:
    device = Hanging()
    model = on(device)

    async def test() -> None:
        engine = Engine(queue_rows=8, longest_turn=0.05)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request := job_of(model), stays))
            await until_others(lambda: engine.failure)
            assert engine.failure == "a turn of the engine takes longer than 0.05 s"
            device.free.set()
            await answer
            await until_others(lambda: engine.failure is None)
            assert_answered_as_alone(request)

    run(test)


def test_an_engine_that_hangs_does_not_keep_the_process_from_ending() -> None:
    model = on(Hanging())  # which is never let go

    async def test() -> None:
        engine = Engine(queue_rows=8, longest_turn=0.05)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(job_of(model), stays))
            await until_others(lambda: engine.failure)
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


def test_a_thread_that_waits_for_something_to_do_does_not_hang() -> None:
    async def test() -> None:
        engine = Engine(queue_rows=8, longest_turn=0.01)
        async with engine.running():
            await asyncio.sleep(0.05)
            assert engine.failure is None
        assert engine.failure is None  # it has been told to end

    run(test)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_died_is_a_failure() -> None:
    model = on(Deadly())

    async def test() -> None:
        engine = Engine(queue_rows=8)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(job_of(model), stays))
            await until_others(lambda: engine.failure)
            assert engine.failure == "a thread of the engine has ended"
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


def test_who_counts_turns_and_fails_takes_nobody_s_answer_away(model: ServedModel) -> None:
    def fails(turn: Iteration | None) -> None:
        if turn is not None:
            raise OSError("no space left on device")

    async def test() -> None:
        engine = Engine(queue_rows=8, on_change=fails)
        async with engine.running():
            for _ in range(2):
                request = job_of(model)
                await engine.answer(request, stays)
                assert_answered_as_alone(request)
            assert engine.failure is None

    run(test)


def test_a_request_that_cannot_be_begun_fails_alone(model: ServedModel) -> None:
    """Its plan have come to name a method that there is none of, which only the scheduler sees."""

    async def test() -> None:
        engine = Engine(queue_rows=64)
        async with engine.running():
            fine = job_of(model, 20, method="bosh3", tolerance=1e-4)
            other = asyncio.create_task(engine.answer(fine, stays))
            odd = job_of(model, 3)
            candidate = odd.plan.candidates[0]
            assert candidate.solver is not None
            unknown = candidate.solver.model_copy(update={"method": "heun3"})
            odd.plan = replace(odd.plan, candidates=(candidate._replace(solver=unknown),))
            with pytest.raises(ComputationError):
                await engine.answer(odd, stays)
            await other
        assert_answered_as_alone(fine)
        assert odd.end is End.failed
        assert engine.admission.waiting() == 0

    run(test)
