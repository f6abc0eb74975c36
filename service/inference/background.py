"""Threads that decode pictures and write long answers, so that the event loop does not wait for this work."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from service.errors import FieldError, StoppingError

Result = TypeVar("Result")


class BackgroundThreads:
    """Threads in addition to the threads of the event loop and the engine.

    NumPy, Pillow and pydantic's parser mostly release Python's lock, so that the other threads run at the same time.

    Args:
        threads: the greatest number of calls at the same time. Further calls wait.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Call a function in a thread.

        Raises:
            StoppingError: the service stopped first.
        """
        try:
            return await to_thread.run_sync(call, limiter=self._limiter)
        except CancelledError as error:  # the server cancels tasks once its time to stop is over
            raise StoppingError(FieldError("service", "is stopping; ask again")) from error
