"""uvicorn's server with a graceful end: it answers all requests that were sent before it stopped."""

import asyncio
import logging
import multiprocessing
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.server.acceptor import Acceptor, Share
from service.server.http_protocol import CLOSE, ServerConfig

if TYPE_CHECKING:
    from service.inference.data_plane import DataPlane  # a supervisor starts faster without it
    from service.rpc.server import RpcServer

ENGINE_FAILURE = 4
"""Exit status of a process that ends because its engine will answer no more requests."""

SIGNALLED = 128
"""Exit status of a process that a second signal has ended, plus the number of the signal, as shells report it."""

LAST_REQUEST_SECONDS = 0.1
"""Time in which open connections may send another request after the server has stopped accepting connections."""

LAST_READS = 10
"""We check a connection again at most this often because bytes have arrived. A check takes an iteration of the loop."""

HANDSHAKE_SECONDS = 1.0
"""Time limit of the TLS handshake for the connections that are accepted last."""

logger = logging.getLogger("uvicorn.error")


class GracefulServer(uvicorn.Server):
    """A server that ends in three steps after a signal.

    1. It is no longer ready, and each answer closes its connection. It still accepts connections and answers for the
       grace time (none after SIGINT).
    2. It stops listening. It accepts the connections that wait, and answers the requests that have arrived.
    3. uvicorn waits for the answers, up to `timeout_graceful_shutdown`.

    A signal before the start ends the process at once. A second signal does too, unless a supervisor handles it.

    Args:
        config: uvicorn's configuration, with the port for gRPC.
        grace_seconds: time between the signal and the second step.
        share: the place of this process among the workers that accept connections at one socket; None if it serves
            alone.
    """

    def __init__(self, config: ServerConfig, grace_seconds: float, share: Share | None = None) -> None:
        super().__init__(config)
        self._grpc_port = config.grpc_port
        self._grace_seconds = grace_seconds
        self._share = share
        self._acceptor: Acceptor | None = None
        self._supervisor = multiprocessing.parent_process()
        self._plane: DataPlane | None = None
        self._stop_at: float | None = None
        self._ticked_at = time.monotonic()
        self._logged = self._failed = False
        self._rpc: RpcServer | None = None
        self._rpc_end: asyncio.Task[None] | None = None

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal ends the server.

        Raises:
            SystemExit: the server could not start, or its engine has failed and another process should take over.
        """
        super().run(sockets)
        if self._failed:
            logging.shutdown()
            os._exit(ENGINE_FAILURE)  # a hanging thread of the engine would prevent an ordinary exit

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle signals for the time of the block."""
        with super().capture_signals():
            if self._supervisor is not None:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # they waited for handlers
            elif signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:  # nohup makes a process ignore SIGHUP
                signal.signal(signal.SIGHUP, self.handle_exit)
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (signal passes the frame)
        """Begin to stop. uvicorn's own handler is not called, because it would raise the signal again at the end."""
        if not self.started:
            os._exit(0)  # nothing has started that must end; uvicorn would report an exception as a failed start
        if self._stop_at is not None and self._supervisor is None:  # a supervisor may pass on a signal twice
            os._exit(SIGNALLED + sig)
        self._stop(0 if sig == signal.SIGINT else self._grace_seconds)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, and listen.

        Raises:
            SystemExit: the port for gRPC is not available.
        """
        if self._share is not None and sockets:
            await super().startup([])
            self._acceptor = Acceptor(
                sockets[0],
                self.config.backlog,
                self._share,
                lambda: len(self.server_state.connections),
                self._protocol,
                self.config.ssl,
            )
        else:
            await super().startup(sockets)
            if sockets is not None:  # uvicorn reports only the sockets that it has made itself
                self._log_started_message(sockets)
        self._plane = self.lifespan.state["plane"]
        await self._start_rpc(self.lifespan.state.get("rpc"))

    async def _start_rpc(self, rpc: "RpcServer | None") -> None:
        """Serve gRPC too, if the settings say so."""
        port = self._grpc_port
        if rpc is None or port is None:
            return
        try:
            await rpc.start(port)
        except RuntimeError as error:
            logger.error("grpc_port: cannot listen at port %d: %s", port, error)  # noqa: TRY400 (the reason is enough)
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)
        self._rpc = rpc

    def hangs(self, longest: float) -> bool:
        """Whether the event loop of the running server has been blocked for some seconds. Any thread may call this."""
        return self.started and not self.should_exit and time.monotonic() - self._ticked_at > longest

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to stop."""
        self._ticked_at = time.monotonic()
        if self._acceptor is not None:
            self._acceptor.publish()
        ended = await super().on_tick(counter)
        if self._stop_at is None and self._supervisor is not None and not self._supervisor.is_alive():
            logger.error("The supervisor, or the process that forks the workers, is gone; this worker process ends")
            self._stop(0)
        if not self._failed and self._plane is not None and (failure := self._plane.failure):
            logger.error("%s; this process ends, for another to take its place", failure)
            self._failed = True
            self.config.timeout_graceful_shutdown = 0
            self._stop(0)
        if self._stop_at is None:
            return ended
        left = self._stop_at - time.monotonic()
        if not self._logged:  # a signal handler would log with the request id of the request that it interrupts
            logger.info("Stopping: no longer ready, and accepting connections for %.1f s", max(0, left))
            self._logged = True
        return ended or left <= 0

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop listening, answer the requests that have arrived, and end."""
        if self._rpc is not None:
            self._rpc_end = asyncio.create_task(self._rpc.stop(self.config.timeout_graceful_shutdown or 0))
        await self._accept_waiting(sockets or [])
        await asyncio.sleep(LAST_REQUEST_SECONDS)
        await self._close_idle()
        await super().shutdown(sockets)

    async def _wait_tasks_to_complete(self) -> None:
        """Wait for the answers to all requests. uvicorn limits the time of this wait."""
        await super()._wait_tasks_to_complete()
        if self._rpc_end is not None:
            await asyncio.wait({self._rpc_end})

    def _stop(self, grace_seconds: float) -> None:
        """Stop being ready, and close each connection with its next answer. A second call may only stop earlier."""
        stop_at = time.monotonic() + grace_seconds
        self._stop_at = stop_at if self._stop_at is None else min(self._stop_at, stop_at)
        if self._plane is not None and not self._plane.stopping:
            self._plane.stopping = True
            self.config.headers.append(("connection", "close"))
            self.config.encoded_headers.append(CLOSE)
            self.server_state.default_headers.append(CLOSE)  # requests that have started share this list

    async def _accept_waiting(self, sockets: list[socket.socket]) -> None:
        """Stop listening, and accept the connections that wait to be accepted."""
        listening = [listener for server in self.servers for listener in server.sockets] or sockets
        own = [socket.socket(fileno=os.dup(listener.fileno())) for listener in listening]
        if self._acceptor is not None:
            self._acceptor.close()
        for server in self.servers:
            server.close()
        for given in sockets:
            given.close()
        await asyncio.sleep(0)
        accepted = list[socket.socket]()
        for listener in own:
            with listener:  # until its end, a client that connects can still be accepted
                accepted += _accept_all(listener)
        loop, secure = asyncio.get_running_loop(), self.config.ssl
        options: dict[str, Any] = {"ssl": secure, "ssl_handshake_timeout": HANDSHAKE_SECONDS} if secure else {}
        entering = (loop.connect_accepted_socket(self._protocol, each, **options) for each in accepted)
        await asyncio.gather(*entering, return_exceptions=True)  # a client that has disconnected needs no answer

    def _protocol(self) -> asyncio.Protocol:
        """The protocol of a connection, made as uvicorn makes it."""
        make: Any = self.config.http_protocol_class
        protocol: asyncio.Protocol = make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def _close_idle(self) -> None:
        """Close the connections that have no unanswered request."""
        for _ in range(LAST_READS):
            if not self._close_silent():
                return
            await asyncio.sleep(0)  # the loop reads the bytes that have arrived

    def _close_silent(self) -> int:
        """Close the idle connections without unread bytes, and return the number of those with unread bytes."""
        connections = [each for each in self.server_state.connections if isinstance(each, HttpToolsProtocol)]
        idle = {
            each.transport.get_extra_info("socket").fileno(): each
            for each in connections
            if (each.cycle is None or each.cycle.response_complete) and not each.transport.is_closing()
        }
        poll = select.poll()
        for descriptor in idle:
            poll.register(descriptor, select.POLLIN)
        unread = {descriptor for descriptor, _ in poll.poll(0)}
        for descriptor, connection in idle.items():
            if descriptor not in unread:
                connection.shutdown()
        return len(unread)


def _accept_all(listener: socket.socket) -> list[socket.socket]:
    """Accept all connections that wait."""
    listener.setblocking(False)
    accepted = list[socket.socket]()
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:  # no connection waits, or accepting is no longer possible
            return accepted
        connection.setblocking(False)
        accepted.append(connection)
