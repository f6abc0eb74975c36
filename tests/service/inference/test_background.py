"""Work in background threads: long steps hold up no short ones, and callers take fair turns."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from threading import Event, get_native_id

import pytest

from service.errors import StoppingError
from service.inference.background import BackgroundThreads, Step, Work, finish, one_step
from service.processors import NICENESS
from tests.waiting import HANG


def niceness() -> int:
    """The niceness of this thread."""
    return os.getpriority(os.PRIO_PROCESS, get_native_id())


def work_for(seconds: float) -> None:
    """Use some processor time."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def steps(kinds: list[Step], note: Callable[[Step], object]) -> Work[int]:
    """Work that notes each of its steps. Its result is their number."""
    for each in kinds:
        yield each
        note(each)
    return len(kinds)


def run(body: Callable[[BackgroundThreads], Awaitable[None]]) -> None:
    async def with_threads() -> None:
        await body(BackgroundThreads(1))

    asyncio.run(with_threads())


def test_the_result_of_work_is_returned_after_all_its_steps() -> None:
    async def body(background: BackgroundThreads) -> None:
        for kinds in ([], [Step.short], [Step.decode], [Step.parse, Step.short, Step.short, Step.decode]):
            noted: list[Step] = []
            assert await background.work(steps(kinds, noted.append), "a") == len(kinds)
            assert noted == kinds
            assert finish(steps(kinds, noted.append)) == len(kinds)
        assert await background.run(lambda: 7) == 7

    run(body)


def test_an_error_of_a_step_ends_the_work() -> None:
    def fail() -> None:
        raise KeyError("reason")

    async def body(background: BackgroundThreads) -> None:
        for _ in range(3):  # the thread is free again each time
            with pytest.raises(KeyError, match="reason"):
                await background.work(one_step(fail), "a")

    run(body)


def test_a_long_step_gives_way_and_does_not_hold_up_the_short_steps_of_anybody() -> None:
    async def body(background: BackgroundThreads) -> None:
        short_is_done, nice = Event(), list[int]()

        def wait_for_short(_: Step) -> None:
            nice.append(niceness())
            assert short_is_done.wait(HANG)

        long = asyncio.create_task(background.work(steps([Step.decode], wait_for_short), "a"))
        await asyncio.sleep(0)
        for caller in "ab":
            await background.work(steps([Step.short], lambda _: nice.append(niceness())), caller)
        short_is_done.set()
        await long
        assert sorted(nice) == [niceness(), niceness(), min(niceness() + NICENESS, 19)]

    run(body)


def test_a_caller_with_one_step_goes_before_the_rest_of_a_long_list() -> None:
    """The list belongs to one request. Each of its steps takes longer than a slice."""

    async def body(background: BackgroundThreads) -> None:
        order: list[str] = []

        def work_for_a_while(_: Step) -> None:
            work_for(0.02)
            order.append("a")

        many = asyncio.create_task(background.work(steps([Step.short] * 5, work_for_a_while), "a"))
        await asyncio.sleep(0)
        await background.work(steps([Step.short], lambda _: order.append("b")), "b")
        await many
        assert order.index("b") <= 2

    run(body)


def test_work_that_is_cancelled_reports_that_the_service_stops() -> None:
    async def body(background: BackgroundThreads) -> None:
        going, may_end = Event(), Event()

        def hold(_: Step) -> None:
            going.set()
            assert may_end.wait(HANG)

        task = asyncio.create_task(background.work(steps([Step.short], hold), "a"))
        assert await asyncio.to_thread(going.wait, HANG)
        task.cancel()
        with pytest.raises(StoppingError):
            await task
        may_end.set()

    run(body)


def test_work_that_fails_is_charged_for_its_time() -> None:
    """Otherwise, a caller whose requests all fail would keep everybody else waiting."""

    async def body(background: BackgroundThreads) -> None:
        order: list[str] = []

        def fail_after_a_while() -> None:
            work_for(0.02)
            order.append("a")
            raise KeyError

        def succeed() -> None:
            order.append("b")

        async def fail() -> None:
            with pytest.raises(KeyError):
                await background.work(one_step(fail_after_a_while), "a")

        failing = [asyncio.create_task(fail()) for _ in range(6)]
        await asyncio.sleep(0)
        await background.work(one_step(succeed), "b")
        await asyncio.gather(*failing)
        assert order.index("b") <= 2

    run(body)
