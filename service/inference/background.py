"""Threads that decode pictures and parse long bodies, so that neither the event loop nor another caller waits."""

import asyncio
import time
from asyncio import CancelledError
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

from service.errors import FieldError, StoppingError
from service.inference.turns import FairTurns
from service.processors import give_way

Result = TypeVar("Result")


class Step(Enum):
    """What a step of some work does. Each kind has threads of its own, so that no kind waits for another."""

    short = auto()
    """Takes some milliseconds: to decode a small picture, to convert a few images, to write an answer."""

    parse = auto()
    """Parses a long text, and holds Python's lock. So it should end soon, and does not give way."""

    decode = auto()
    """Decodes a large picture, which may take seconds. So it gives way to all other threads."""


Work = Generator[Step, None, Result]
"""Work in steps, such as the pictures of a request. Before each step, it yields what the step does."""

SLICE_SECONDS = 0.01
"""Processor time after which work of several steps lets other work take its turn."""


class Progress(NamedTuple, Generic[Result]):
    """How far some work has come.

    Attributes:
        seconds: the processor time that it has taken now.
        next: what its next step does; None if it has ended.
        results: its result; empty if it has none.
        failure: why it has failed, if it has.
    """

    seconds: float
    next: Step | None = None
    results: tuple[Result, ...] = ()
    failure: Exception | None = None


class Lane:
    """Threads for one kind of steps. Flows of requests take fair turns.

    Args:
        threads: the number of threads.
        gives_way: whether all other threads of the machine go first.
    """

    def __init__(self, threads: int, *, gives_way: bool = False) -> None:
        self._threads = ThreadPoolExecutor(threads, "background", give_way if gives_way else None)
        self._turns = FairTurns(threads)

    async def advance(self, work: Work[Result], flow: str, step: Step) -> Progress[Result]:
        """Wait for the turn of a flow, and take some steps of its work in a thread."""
        await self._turns.begin(flow)
        seconds = 0.0
        try:
            in_context = copy_context().run
            progress: Progress[Result] = await asyncio.get_running_loop().run_in_executor(
                self._threads, in_context, _advance, work, step
            )
            seconds = progress.seconds
        finally:
            self._turns.end(flow, seconds)
        return progress


class BackgroundThreads:
    """Threads in addition to the threads of the event loop and the engine.

    NumPy and Pillow mostly release Python's lock, so that the other threads run at the same time.

    Args:
        threads: the number of threads for short steps. There is one thread for each other kind.
    """

    def __init__(self, threads: int) -> None:
        self._lanes = {Step.short: Lane(threads), Step.parse: Lane(1), Step.decode: Lane(1, gives_way=True)}

    async def run(self, call: Callable[[], Result]) -> Result:
        """Call a function in a thread, for the service itself. The call must be short.

        Raises:
            StoppingError: the service stopped first.
        """
        return await self.work(one_step(call), "")

    async def work(self, work: Work[Result], flow: str) -> Result:
        """Do some work in threads, one step after another, and return its result.

        Args:
            work: the work.
            flow: the requests to which the work belongs. Flows take fair turns.

        Raises:
            StoppingError: the service stopped first.
        """
        step: Step | None = Step.short
        try:
            while step is not None:
                progress = await self._lanes[step].advance(work, flow, step)
                step = progress.next
        except CancelledError as error:  # the server cancels tasks once its time to stop is over
            raise StoppingError(FieldError("service", "is stopping; ask again")) from error
        if progress.failure is not None:
            raise progress.failure
        return progress.results[0]


def finish(work: Work[Result]) -> Result:
    """Take all steps of some work here and now, and return its result."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        result: Result = end.value
        return result


def one_step(call: Callable[[], Result], step: Step = Step.short) -> Work[Result]:
    """Work that consists of one step."""
    yield step
    return call()


def _advance(work: Work[Result], step: Step) -> Progress[Result]:
    """Take steps of some work, until it ends, its next step is of another kind, or its time is up."""
    began = time.thread_time()
    try:
        following = next(work)
        while following is step and time.thread_time() - began < SLICE_SECONDS:
            following = next(work)
    except StopIteration as end:
        return Progress(time.thread_time() - began, results=(end.value,))
    except Exception as error:  # noqa: BLE001 (the caller of the work gets it, after its time is counted)
        return Progress(time.thread_time() - began, failure=error)
    return Progress(time.thread_time() - began, following)
