"""Computes beside the event loop, as many requests at a time as there are threads."""

import time
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

Result = TypeVar("Result")


class Workers:
    """Threads that compute; onnxruntime, torch, NumPy and Pillow let each other run meanwhile.

    Args:
        threads: how many compute at the same time; further calls wait their turn.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, call: Callable[[float], Result]) -> Result:
        """Call in a thread, with the seconds that were spent on waiting for one."""
        asked = time.perf_counter()
        return await to_thread.run_sync(lambda: call(time.perf_counter() - asked), limiter=self._limiter)
