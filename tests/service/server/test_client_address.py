"""The address of a client, which is the name of a caller without a key."""

import asyncio
from typing import Any

from service.server.http_protocol import ServerConfig
from tests.waiting import HANG


def test_a_header_changes_neither_the_address_of_a_client_nor_the_scheme() -> None:
    """A caller on the same machine could otherwise take the turns of many callers."""
    seen = list[dict[str, Any]]()

    async def application(scope: Any, *_: object) -> None:
        seen.append(scope)

    scope = {
        "type": "http",
        "client": ("127.0.0.1", 50_000),
        "scheme": "http",
        "headers": [(b"x-forwarded-for", b"192.0.2.7"), (b"x-forwarded-proto", b"https")],
    }
    config = ServerConfig(application, client_seconds=HANG, log_config=None)
    config.load()
    asyncio.run(config.loaded_app(scope, None, None))
    assert [(each["client"], each["scheme"]) for each in seen] == [(("127.0.0.1", 50_000), "http")]
