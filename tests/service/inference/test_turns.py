"""Callers take fair turns, whatever the number and the length of their tasks."""

import asyncio

import pytest

from service.inference.turns import FairTurns


class Tasks:
    """Tasks that take turns, one at a time.

    Attributes:
        order: the callers, in the order of their turns.
    """

    def __init__(self) -> None:
        self.turns = FairTurns(1)
        self.order: list[str] = []

    async def task(self, caller: str, seconds: float) -> None:
        await self.turns.begin(caller)
        self.order.append(caller)
        await asyncio.sleep(0)
        self.turns.end(caller, seconds)

    def run(self, *tasks: tuple[str, float]) -> str:
        """Run tasks that begin in this order, and return the order of their turns."""

        async def all_of_them() -> None:
            await asyncio.gather(*(self.task(caller, seconds) for caller, seconds in tasks))

        asyncio.run(all_of_them())
        return "".join(self.order)


def test_tasks_of_one_caller_begin_in_their_order() -> None:
    assert Tasks().run(*[("a", 1.0)] * 3) == "aaa"


def test_a_caller_with_one_task_does_not_wait_for_all_tasks_of_another() -> None:
    assert Tasks().run(*[("a", 1.0)] * 5, ("b", 1.0)) == "abaaaa"


def test_a_caller_with_short_tasks_gets_as_much_time_as_one_with_long_tasks() -> None:
    order = Tasks().run(*[("a", 3.0)] * 3, *[("b", 1.0)] * 6)
    assert order == "abbbabbba"


def test_a_caller_saves_up_no_time() -> None:
    tasks = Tasks()
    tasks.run(*[("a", 1.0)] * 4)
    assert tasks.run(("a", 1.0), ("a", 1.0), ("b", 1.0), ("b", 1.0)) == "aaaa" + "abab"


def test_several_tasks_work_at_a_time() -> None:
    async def most() -> int:
        turns, working, most = FairTurns(3), 0, 0

        async def task(caller: str) -> None:
            nonlocal working, most
            await turns.begin(caller)
            working += 1
            most = max(most, working)
            await asyncio.sleep(0)
            working -= 1
            turns.end(caller, 1.0)

        await asyncio.gather(*(task(caller) for caller in "aabbccdd"))
        return most

    assert asyncio.run(most()) == 3


@pytest.mark.parametrize("begun", [False, True], ids=["while it waits", "when its turn has just begun"])
def test_a_cancelled_task_holds_up_nobody(begun: bool) -> None:
    async def run() -> None:
        turns = FairTurns(1)
        await turns.begin("a")
        waiting = asyncio.create_task(turns.begin("b"))
        await asyncio.sleep(0)
        if begun:
            turns.end("a", 1.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not begun:
            turns.end("a", 1.0)
        await turns.begin("c")

    asyncio.run(run())
