"""An asynchronous client in tests that are written for a synchronous client."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any


class Asynchronous:
    """An asynchronous client with the interface of the synchronous client. Each call opens and closes a client.

    Args:
        connect: opens a client at an address.
        address: the address of the service.
    """

    def __init__(self, connect: Callable[[str], AbstractAsyncContextManager[Any]], address: str) -> None:
        self._connect, self._address = connect, address

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **kwargs: Any) -> Any:
            async with self._connect(self._address) as client:
                answer: Coroutine[Any, Any, Any] = getattr(client, name)(*args, **kwargs)
                return await answer

        return lambda *args, **kwargs: asyncio.run(call(*args, **kwargs))
