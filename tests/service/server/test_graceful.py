"""The server notices that its event loop hangs."""

import asyncio

from service.server.graceful import GracefulServer
from service.server.http_protocol import ServerConfig
from tests.waiting import HANG, until


async def nothing(*_: object) -> None:
    """An application that answers nothing."""


def test_a_server_hangs_as_long_as_its_event_loop_is_blocked() -> None:
    server = GracefulServer(ServerConfig(nothing, client_seconds=HANG), 0)
    assert not server.hangs(0), "it has not started"
    server.started = True
    until(lambda: server.hangs(0.01))
    asyncio.run(server.on_tick(1))
    assert not server.hangs(60)


def test_a_server_that_is_about_to_end_is_not_reported_as_hanging() -> None:
    server = GracefulServer(ServerConfig(nothing, client_seconds=HANG), 0)
    server.started = server.should_exit = True
    assert not server.hangs(0)
