"""uvicorn's server with an end in good order: what was sent to it before it stopped is answered."""

import asyncio
import logging
import os
import select
import signal
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from service.inference.data_plane import DataPlane  # a supervisor starts faster without it

ENGINE_FAILURE = 4
"""The status of a process that ends because its engine will answer nobody any more."""

SIGNALLED = 128
"""Plus the number of the signal: the status of a process that a second signal has ended, as shells have it."""

CLOSE = (b"connection", b"close")
LAST_CALL_SECONDS = 0.1
"""For how long connections may bring another request once nobody is accepted any more."""

LAST_CALLS = 10
"""How many more times a connection is looked at on which something has arrived; each takes a turn of the loop."""

HANDSHAKE_SECONDS = 1.0
"""That TLS may take for connections that are accepted at the very last."""

logger = logging.getLogger("uvicorn.error")


class Server(uvicorn.Server):
    """Ends in steps, once a signal says so.

    1. It is not ready any more, and each answer closes its connection; it accepts and answers, for the time of grace
       (none after SIGINT).
    2. It stops to accept. Who waits to be accepted is; what has arrived on any connection is answered.
    3. uvicorn waits for the answers, as long as `timeout_graceful_shutdown` says.

    A signal before it has started ends it at once. So does a second one, unless a supervisor decides on that.

    Args:
        config: of uvicorn.
        grace_seconds: between the signal and the second step.
        supervised: whether a parent process passes signals on, perhaps more than once.
    """

    def __init__(self, config: uvicorn.Config, grace_seconds: float, *, supervised: bool = False) -> None:
        super().__init__(config)
        self._grace_seconds = grace_seconds
        self._supervised = supervised
        self._parent = os.getppid()
        self._plane: DataPlane | None = None
        self._until: float | None = None
        self._told = self._failed = False

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends it.

        Raises:
            SystemExit: it could not start; or the engine has failed, and another process should take over.
        """
        super().run(sockets)
        if self._failed:
            logging.shutdown()
            os._exit(ENGINE_FAILURE)  # its thread may hang, and with it a usual end

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Have signals handled meanwhile."""
        with super().capture_signals():
            if self._supervised:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # which waited for a handler
            elif signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup has it ignored
                signal.signal(signal.SIGHUP, self.handle_exit)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal gives it)
        """Begin to end; uvicorn, which would raise the signal anew in the end, is not told of it."""
        if not self.started:
            os._exit(0)  # nothing has begun that would have to end; to raise would be told as a failure to start
        if self._until is not None and not self._supervised:
            os._exit(SIGNALLED + sig)
        self._stop(0 if sig == signal.SIGINT else self._grace_seconds)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen."""
        await super().startup(sockets)
        self._plane = self.lifespan.state["plane"]

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop."""
        ended = await super().on_tick(counter)
        if self._supervised and self._until is None and os.getppid() != self._parent:
            logger.error("The parent process is gone; this one ends")
            self._stop(0)
        if not self._failed and self._plane is not None and (failure := self._plane.failure):
            logger.error("%s; this process ends, for another to take its place", failure)
            self._failed = True
            self.config.timeout_graceful_shutdown = 0
            self._stop(0)
        if self._until is None:
            return ended
        left = self._until - time.monotonic()
        if not self._told:  # not by the handler of a signal, whose log would be that of whichever request it met
            logger.info("Stopping: not ready any more, and accepting for another %.1f s", max(0, left))
            self._told = True
        return ended or left <= 0

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what has arrived, and end."""
        await self._accept_last(sockets or [])
        await asyncio.sleep(LAST_CALL_SECONDS)
        await self._close_idle()
        await super().shutdown(sockets)

    def _stop(self, grace_seconds: float) -> None:
        """Be ready no more, and close connections with their answers; to stop twice is to stop at the earlier time."""
        until = time.monotonic() + grace_seconds
        self._until = until if self._until is None else min(self._until, until)
        if self._plane is not None and not self._plane.stopping:
            self._plane.stopping = True
            self.config.headers.append(("connection", "close"))
            self.config.encoded_headers.append(CLOSE)
            self.server_state.default_headers.append(CLOSE)  # which requests that have begun share

    async def _accept_last(self, sockets: list[socket.socket]) -> None:
        """Stop listening, and accept who waited for that."""
        own = [
            socket.socket(fileno=os.dup(listener.fileno())) for server in self.servers for listener in server.sockets
        ]
        for server in self.servers:
            server.close()
        for given in sockets:
            given.close()
        await asyncio.sleep(0)
        accepted = list[socket.socket]()
        for listener in own:
            with listener:  # until it is left, whoever comes can still be accepted
                accepted += _waiting(listener)
        loop, secure = asyncio.get_running_loop(), self.config.ssl
        options: dict[str, Any] = {"ssl": secure, "ssl_handshake_timeout": HANDSHAKE_SECONDS} if secure else {}
        entering = (loop.connect_accepted_socket(self._protocol, each, **options) for each in accepted)
        await asyncio.gather(*entering, return_exceptions=True)  # who is gone by now is no matter

    def _protocol(self) -> asyncio.Protocol:
        """What speaks to a connection, as uvicorn makes it."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _close_idle(self) -> None:
        """Close the connections on which nothing has arrived that is not answered."""
        for _ in range(LAST_CALLS):
            arrived = self._close_silent()
            if not arrived:
                return
            await asyncio.sleep(0)  # in which it is read

    def _close_silent(self) -> int:
        """Close idle connections, but those on which something has arrived and is not read yet; how many those are."""
        connections = [each for each in self.server_state.connections if isinstance(each, HttpToolsProtocol)]
        idle = {
            each.transport.get_extra_info("socket").fileno(): each
            for each in connections
            if (each.cycle is None or each.cycle.response_complete) and not each.transport.is_closing()
        }
        poll = select.poll()
        for descriptor in idle:
            poll.register(descriptor, select.POLLIN)
        arrived = {descriptor for descriptor, _ in poll.poll(0)}
        for descriptor, connection in idle.items():
            if descriptor not in arrived:
                connection.shutdown()
        return len(arrived)


def _waiting(listener: socket.socket) -> list[socket.socket]:
    """The connections that wait to be accepted, accepted."""
    listener.setblocking(False)
    accepted = list[socket.socket]()
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # nobody more, or not allowed any more
            return accepted
        connection.setblocking(False)
        accepted.append(connection)
