"""Decodes, and writes long answers, beside the event loop, for as many requests at a time as there are threads."""

from asyncio import CancelledError
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from service.errors import FieldError, StoppingError

Result = TypeVar("Result")


class Workers:
    """Threads beside the event loop and the engine; NumPy, Pillow and pydantic's parser mostly let those run meanwhile.

    Args:
        threads: how many compute at the same time; further calls wait their turn.
    """

    def __init__(self, threads: int) -> None:
        self._limiter = CapacityLimiter(threads)

    async def run(self, call: Callable[[], Result]) -> Result:
        """Call in a thread.

        Raises:
            StoppingError: the service stops first.
        """
        try:
            return await to_thread.run_sync(call, limiter=self._limiter)
        except CancelledError as error:  # by the server, whose time to stop in good order is over
            raise StoppingError(FieldError("service", "is stopping; ask again")) from error
