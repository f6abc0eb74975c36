"""An engine whose own thread fails: which requests end, and what an observer sees."""

import asyncio
from dataclasses import replace
from threading import Event

import pytest

from service.engine.engine import Engine
from service.engine.model import ServedModel
from service.engine.request import End
from service.engine.scheduler import Iteration
from service.errors import ComputationError, StoppingError
from tests.service.engine.device import Device
from tests.service.engine.driving import assert_answered_as_alone, served
from tests.service.engine.test_engine import request_to, run, stays
from tests.waiting import until_others


class Hanging(Device):
    """A device that hangs until a test sets `free`."""

    def __init__(self) -> None:
        super().__init__()
        self.free = Event()

    def use(self, part: str, method: str | None) -> None:
        self.free.wait()


class Deadly(Device):
    """A device that ends the thread that uses it."""

    def use(self, part: str, method: str | None) -> None:
        raise SystemExit


def on(device: Device) -> ServedModel:
    return served("odenet-mnist", device)


def test_a_hanging_thread_is_a_failure_until_it_goes_on() -> None:
    device = Hanging()
    model = on(device)

    async def test() -> None:
        engine = Engine(queue_seconds=60, longest_iteration=0.05)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request := request_to(model), stays))
            await until_others(lambda: engine.failure)
            assert engine.failure == "an iteration of the engine takes longer than 0.05 s"
            device.free.set()
            await answer
            await until_others(lambda: engine.failure is None)
            assert_answered_as_alone(request)

    run(test)


def test_a_hanging_engine_does_not_keep_the_process_from_ending() -> None:
    model = on(Hanging())  # the engine hangs for ever

    async def test() -> None:
        engine = Engine(queue_seconds=60, longest_iteration=0.05)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request_to(model), stays))
            await until_others(lambda: engine.failure)
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


def test_an_idle_thread_does_not_count_as_hanging() -> None:
    async def test() -> None:
        engine = Engine(queue_seconds=60, longest_iteration=0.01)
        async with engine.running():
            await asyncio.sleep(0.05)
            assert engine.failure is None
        assert engine.failure is None  # the engine has stopped in an orderly way

    run(test)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_a_failure() -> None:
    model = on(Deadly())

    async def test() -> None:
        engine = Engine(queue_seconds=60)
        async with engine.running():
            answer = asyncio.create_task(engine.answer(request_to(model), stays))
            await until_others(lambda: engine.failure)
            assert engine.failure == "a thread of the engine has ended"
            answer.cancel()
            with pytest.raises(StoppingError):
                await answer

    run(test)


@pytest.mark.parametrize("failing", [None, Iteration], ids=["queue", "iteration"])
def test_a_failing_observer_leaves_nothing_behind(model: ServedModel, failing: type[Iteration] | None) -> None:
    """A metric may fail, for example because no space is left. Requests are answered, and no queue place is lost."""

    def fail(iteration: Iteration | None) -> None:
        if isinstance(iteration, Iteration) == (failing is Iteration):
            raise OSError("no space left on device")

    async def test() -> None:
        engine = Engine(queue_seconds=60, on_change=fail)
        async with engine.running():
            for _ in range(2):
                request = request_to(model)
                await engine.answer(request, stays)
                assert_answered_as_alone(request)
                assert engine.admission.rows == 0
            assert engine.failure is None

    run(test)


def test_a_request_that_cannot_be_queued_fails_alone(model: ServedModel) -> None:
    """The plan names an unknown method, which only the scheduler notices."""

    async def test() -> None:
        engine = Engine(queue_seconds=60)
        async with engine.running():
            fine = request_to(model, 20, method="bosh3", tolerance=1e-4)
            other = asyncio.create_task(engine.answer(fine, stays))
            odd = request_to(model, 3)
            candidate = odd.plan.candidates[0]
            assert candidate.solver is not None
            unknown = candidate.solver.model_copy(update={"method": "heun3"})
            odd.plan = replace(odd.plan, candidates=(replace(candidate, solver=unknown),))
            with pytest.raises(ComputationError):
                await engine.answer(odd, stays)
            await other
        assert_answered_as_alone(fine)
        assert odd.end is End.failed
        assert engine.admission.rows == 0

    run(test)
