"""Waiting for another task, thread or process; the one place for the time limits of the tests."""

import asyncio
import time
from collections.abc import Callable

HANG = 300
"""Seconds after which a test gives up. The limit guards against a hang; no test depends on the speed of a machine."""

PAGE = 60
"""Seconds after which a test gives up on the page. Chromium draws in fractions of a second, so a failing
test need not wait as long as HANG."""

INTERVAL = 2e-3
"""Seconds between two checks."""


def until(happened: Callable[[], object]) -> None:
    """Wait for an event in another thread or process.

    Args:
        happened: returns a true value after the event.
    """
    given_up = time.monotonic() + HANG
    while not happened():
        assert time.monotonic() < given_up, f"the event did not happen within {HANG} seconds"
        time.sleep(INTERVAL)


async def until_others(happened: Callable[[], object]) -> None:
    """Wait for an event in another task or in a thread other than the event loop's.

    Args:
        happened: returns a true value after the event.
    """
    async with asyncio.timeout(HANG):
        while not happened():
            await asyncio.sleep(INTERVAL)
