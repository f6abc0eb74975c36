"""Waiting for what another task, thread or process does."""

import asyncio
import time
from collections.abc import Callable

HANG = 60
"""Seconds after which what should happen is taken never to."""

PACE = 2e-3
"""Seconds from one look to the next."""


def until(happened: Callable[[], object]) -> None:
    """Wait for something that another thread or process does."""
    given_up = time.monotonic() + HANG
    while not happened():
        assert time.monotonic() < given_up, "it does not happen"
        time.sleep(PACE)


async def until_others(happened: Callable[[], object]) -> None:
    """Wait for something that another task does, or a thread beside the loop."""
    async with asyncio.timeout(HANG):
        while not happened():
            await asyncio.sleep(PACE)
