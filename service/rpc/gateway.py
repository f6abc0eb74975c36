"""The layer around all gRPC calls: request id, API key, status, metrics, log and span."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode, aio

from service.errors import FieldError, RequestError, StoppingError, TooLargeError
from service.rpc.status import FAULT, OK, CallError, Status, is_cancelled
from service.security.guard import Guard
from service.security.keys import Scope
from service.telemetry import access, context
from service.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from service.telemetry.tracing import Tracing

SERVICE = "inference.GRPCInferenceService"
PREFIX = f"/{SERVICE}/"
SCOPES = {
    **{f"{PREFIX}{method}": None for method in ("ServerLive", "ServerReady")},
    **{f"/grpc.health.v1.Health/{method}": None for method in ("Check", "Watch", "List")},
    **{f"{PREFIX}{method}": Scope.admin for method in ("RepositoryModelLoad", "RepositoryModelUnload")},
}
"""The scopes that methods need; None for no key. Every other method needs the scope `predict`."""

ID = "x-request-id"

Result = TypeVar("Result")
Metadata = Mapping[str, Any]

logger = logging.getLogger(__name__)


class Gateway(grpc.GenericRpcHandler):
    """Gives each call an id, checks its key, turns errors into statuses, logs the call and counts it.

    It is a handler around other handlers, because an interceptor would cost each call two more coroutines.

    Args:
        metrics: count the calls.
        guard: checks the API keys; None if calls need no key.
        tracing: makes spans; None for no traces.
        client_seconds: time in which a client must send the message of a call.
        expecting: is around the wait for the message of a call; see `Engine.expecting`.

    Attributes:
        ending: set when all streams must end.
    """

    def __init__(
        self,
        metrics: Metrics,
        guard: Guard | None,
        tracing: "Tracing | None",
        client_seconds: float,
        expecting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self.ending = asyncio.Event()
        self._metrics = metrics
        self._guard = guard
        self._tracing = tracing
        self._client_seconds = client_seconds
        self._expecting = expecting
        self._inner: list[grpc.GenericRpcHandler] = []
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def add_generic_rpc_handlers(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Put this layer around handlers. `grpc_reflection` calls this method and the next, as those of a server."""
        self._inner.extend(handlers)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Do nothing, because the generic handlers have the same methods."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a call, with this layer around it; None for an unknown method."""
        method = handler_call_details.method
        if method not in self._handlers:
            inner = next(filter(None, (each.service(handler_call_details) for each in self._inner)), None)
            if inner is None:
                return None
            self._handlers[method] = self._around(method, inner)
        return self._handlers[method]

    async def answer(self, method: str, metadata: Metadata, call: Callable[[], Awaitable[Result]]) -> Result:
        """Answer a call, or one message of a stream.

        Raises:
            CallError: there is no answer. The error has the status.
        """
        started, status = time.perf_counter(), FAULT
        facts = context.begin(access.request_id(metadata.get(ID, "")))
        try:
            self._check(method, metadata)
            with self._span(method, metadata):
                result = await call()
            status = OK
        except CallError as error:
            status = error.status
            raise
        except RequestError as error:
            if is_cancelled():
                status = Status(StatusCode.CANCELLED)
                raise asyncio.CancelledError from error
            self._metrics.refused(error)
            status = Status.of(error)
            raise CallError(status) from error
        except asyncio.CancelledError:
            status = Status(StatusCode.CANCELLED)
            raise
        except Exception as error:
            logger.exception("no answer to %s", method)
            raise CallError(status) from error
        else:
            return result
        finally:
            seconds = time.perf_counter() - started
            self._metrics.called(method, status.code.name, seconds)
            access.log_call(facts, method, status.code.name, seconds)

    def _check(self, method: str, metadata: Metadata) -> None:
        """Check the API key of a call."""
        if self._guard is not None:
            self._guard.check(SCOPES.get(method, Scope.predict), metadata.get("authorization", ""))

    def _span(self, method: str, metadata: Metadata) -> AbstractContextManager[None]:
        """The span of a call. Calls that monitor the service have none."""
        if self._tracing is None or method.startswith(access.MONITORING_CALLS):
            return nullcontext()
        return self._tracing.call(method, metadata)

    def _around(self, method: str, inner: Any) -> Any:
        """The handler of a method with this layer around it.

        To gRPC, all requests are streams. So this layer reads the message of a call itself, and limits the time of it.
        """
        serialisation = inner.request_deserializer, inner.response_serializer
        if inner.unary_unary is not None:
            return grpc.stream_unary_rpc_method_handler(self._around_call(method, inner.unary_unary), *serialisation)
        if inner.unary_stream is not None:
            return grpc.stream_stream_rpc_method_handler(self._around_watch(method, inner.unary_stream), *serialisation)
        return grpc.stream_stream_rpc_method_handler(self._around_stream(method, inner.stream_stream), *serialisation)

    def _around_call(self, method: str, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def answer(_requests: Any, call: Any) -> Any:
            async def respond() -> Any:
                return await behaviour(await self._message(call), call)

            try:
                result = await self.answer(method, metadata_of(call), respond)
            except CallError as error:
                await _abort(call, error.status)
            call.set_trailing_metadata(((ID, context.current().request_id),))
            return result

        return answer

    def _around_watch(self, method: str, behaviour: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
        async def answer(_requests: Any, call: Any) -> AsyncIterator[Any]:
            await self._open(method, call)
            try:
                request = await self._message(call)
            except CallError as error:
                await _abort(call, error.status)
            async for response in behaviour(request, call):
                yield response

        return answer

    def _around_stream(self, method: str, behaviour: Callable[..., AsyncIterator[Any]]) -> Callable[..., Any]:
        async def answer(requests: AsyncIterator[Any], call: Any) -> AsyncIterator[Any]:
            await self._open(method, call)
            ends = list[Status]()
            async for response in behaviour(self._until_end(requests, ends), call):
                yield response
            if ends:
                await _abort(call, ends[0])

        return answer

    async def _message(self, call: Any) -> Any:
        """The one message of a call.

        Raises:
            CallError: the message is missing or malformed, or does not arrive in time.
        """
        try:
            with self._expecting():
                async with asyncio.timeout(self._client_seconds):
                    message = await call.read()
        except TimeoutError as error:
            detail = f"message: has not arrived after {self._client_seconds:g} s"
            raise CallError(Status(StatusCode.DEADLINE_EXCEEDED, detail)) from error
        except DecodeError as error:
            raise CallError(_malformed(error)) from error
        if message is aio.EOF:
            raise CallError(Status(StatusCode.INVALID_ARGUMENT, "message: is missing"))
        return message

    async def _open(self, method: str, call: Any) -> None:
        """Check the key of a stream, and end the stream if the key does not allow it."""
        try:
            self._check(method, metadata_of(call))
        except RequestError as error:
            self._metrics.refused(error)
            await _abort(call, Status.of(error))

    async def _until_end(self, requests: AsyncIterator[Result], ends: list[Status]) -> AsyncIterator[Result]:
        """The messages of a stream, until the client sends no more, or the stream must end.

        Args:
            requests: the messages.
            ends: gets the status, if the service ends the stream: all streams end, or a message is malformed.
        """
        messages, ending = aiter(requests), asyncio.ensure_future(self.ending.wait())
        try:
            while True:
                reading = asyncio.ensure_future(anext(messages, None))
                await asyncio.wait({reading, ending}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    reading.cancel()
                    ends.append(Status.of(StoppingError(FieldError("service", "is stopping; ask again"))))
                    return
                if (message := reading.result()) is None:
                    return
                yield message
        except DecodeError as error:
            ends.append(_malformed(error))
        except TooLargeError as error:
            ends.append(Status.of(error))
        finally:
            ending.cancel()


def _malformed(error: DecodeError) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, f"message: is malformed: {error}")


def metadata_of(call: Any) -> Metadata:
    """The metadata of a call. Of a key that is given several times, the first value counts, as for HTTP."""
    return dict(reversed(call.invocation_metadata()))


def client_of(call: Any) -> str:
    """The address of the client, from a text such as `ipv4:127.0.0.1:50000` or `ipv6:%5B::1%5D:50000`."""
    return _host(call.peer())


@lru_cache
def _host(peer: str) -> str:
    _, _, address = unquote(peer).partition(":")
    return address.rpartition(":")[0].strip("[]")


async def _abort(call: Any, status: Status) -> None:
    """End a call without an answer."""
    trailing = [(ID, context.current().request_id or "")]
    if status.retry_after is not None:
        trailing.append(("retry-after", str(status.retry_after)))
    await call.abort(status.code, status.detail, tuple(trailing))
