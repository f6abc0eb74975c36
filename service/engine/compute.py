"""Computes beside the event loop, as many requests at a time as there are threads."""

import time
from asyncio import CancelledError
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from service.errors import FieldError, StoppingError

Result = TypeVar("Result")


class Workers:
    """Threads that compute; onnxruntime, torch, NumPy and Pillow let each other run meanwhile.

    Args:
        threads: how many compute at the same time; further calls wait their turn.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, call: Callable[[float], Result]) -> Result:
        """Call in a thread, with the seconds that were spent on waiting for one.

        Raises:
            StoppingError: the service stops first.
        """
        asked = time.perf_counter()
        try:
            return await to_thread.run_sync(lambda: call(time.perf_counter() - asked), limiter=self._limiter)
        except CancelledError as error:  # by the server, whose time to stop in good order is over
            raise StoppingError(FieldError("service", "is stopping; ask again")) from error
