"""The calls of the service `inference.GRPCInferenceService`."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from pydantic import BaseModel
from tritonclient.grpc import service_pb2 as pb

from service.errors import FieldError, InvalidError
from service.inference import callers
from service.inference.background import Work, one_step
from service.inference.data_plane import MAX_ROWS_ON_LOOP, Arrival, DataPlane
from service.open_inference.infer import MAX_BYTES_ON_LOOP, ParsedRequest, has_pictures, infer, parse
from service.open_inference.models import SERVER, Reports
from service.rpc.gateway import PREFIX, SERVICE, Gateway, Metadata, client_of, metadata_of
from service.rpc.messages import Parts, read_images, read_request, write_answer
from service.rpc.parsing import Limits, parser
from service.rpc.status import CallError

KIND = "grpc"
"""The kind of body and answer. The time to write an answer is measured for each kind."""

STREAM_METHOD = f"{PREFIX}ModelStreamInfer"

MOST_IN_STREAM = 64
"""The greatest number of requests of a stream that are being answered. The service reads no further ones."""

SEND_SECONDS = 0.002
"""How long before the deadline of a call its answer must be ready, so that the answer arrives in time."""


class Calls:
    """The behaviour of each method. The messages are Triton's, and the answers are those of REST.

    Args:
        plane: computes the answers.
        reports: what the service reports about its models.
        gateway: is around each call, and around each message of a stream.
    """

    def __init__(self, plane: DataPlane, reports: Reports, gateway: Gateway) -> None:
        self._plane = plane
        self._reports = reports
        self._gateway = gateway

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of all methods, for the server."""
        unary: dict[str, Callable[[Any, Any], Any]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelStatistics": self._model_statistics,
            "ModelInfer": self._model_infer,
            "RepositoryIndex": self._repository_index,
            "RepositoryModelLoad": self._repository_model_load,
            "RepositoryModelUnload": self._repository_model_unload,
        }
        limits = Limits.of(self._plane.settings.max_images)
        handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                behaviour,
                parser(getattr(pb, f"{name}Request"), limits),
                getattr(pb, f"{name}Response").SerializeToString,
            )
            for name, behaviour in unary.items()
        }
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._model_stream_infer,
            parser(pb.ModelInferRequest, limits),
            pb.ModelStreamInferResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _server_live(self, _request: Any, _call: Any) -> Message:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _request: Any, _call: Any) -> Message:
        return pb.ServerReadyResponse(ready=await self._plane.ready())

    async def _server_metadata(self, _request: Any, _call: Any) -> Message:
        return _message(pb.ServerMetadataResponse(), SERVER)

    async def _model_ready(self, request: Any, _call: Any) -> Message:
        return pb.ModelReadyResponse(ready=await self._reports.model_ready(request.name, request.version or None))

    async def _model_metadata(self, request: Any, _call: Any) -> Message:
        return _message(pb.ModelMetadataResponse(), await self._reports.metadata(request.name, request.version or None))

    async def _model_config(self, request: Any, _call: Any) -> Message:
        response = pb.ModelConfigResponse()
        _message(response.config, await self._reports.configuration(request.name, request.version or None))
        return response

    async def _model_statistics(self, request: Any, _call: Any) -> Message:
        if request.name:
            statistics = await self._reports.statistics(request.name, request.version or None)
        else:
            statistics = await self._reports.all_statistics()
        return _message(pb.ModelStatisticsResponse(), statistics)

    async def _repository_index(self, request: Any, _call: Any) -> Message:
        response = pb.RepositoryIndexResponse()
        for name, version, ready, reason in await self._plane.models.index():
            if ready or not request.ready:
                state = "READY" if ready else "UNAVAILABLE"
                response.models.add(name=name, version=version, state=state, reason=reason)
        return response

    async def _repository_model_load(self, request: Any, _call: Any) -> Message:
        if request.parameters:
            message = "has no parameters, because the models folder holds all settings"
            raise InvalidError(FieldError("parameters", message, ", ".join(request.parameters)[:64]))
        await self._plane.models.load(_name(request))
        return pb.RepositoryModelLoadResponse()

    async def _repository_model_unload(self, request: Any, _call: Any) -> Message:
        await self._plane.models.unload(_name(request))
        return pb.RepositoryModelUnloadResponse()

    async def _model_infer(self, request: Any, call: Any) -> Message:
        seconds = call.time_remaining()
        return await self._infer(request, client_of(call), None if seconds is None else seconds - SEND_SECONDS)

    async def _model_stream_infer(self, requests: AsyncIterator[Any], call: Any) -> AsyncIterator[Message]:
        """Answer the requests of a stream in the order in which their answers are done."""
        done = asyncio.Queue[Message | None]()
        room = asyncio.Semaphore(MOST_IN_STREAM)
        metadata, client = metadata_of(call), client_of(call)

        async def answer(request: Any) -> None:
            done.put_nowait(await self._answer_in_stream(request, metadata, client))

        async def read() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    async for request in requests:
                        await room.acquire()
                        group.create_task(answer(request))
            finally:
                done.put_nowait(None)

        reading = asyncio.create_task(read())
        try:
            while (response := await done.get()) is not None:
                yield response
                room.release()
            await reading
        finally:
            reading.cancel()  # the caller has gone; the requests that are being answered end with their tasks

    async def _answer_in_stream(self, request: Any, metadata: Metadata, client: str) -> Message:
        named = pb.ModelInferResponse(model_name=request.model_name, id=request.id)
        try:
            answer = await self._gateway.answer(STREAM_METHOD, metadata, lambda: self._infer(request, client, None))
        except CallError as error:
            return pb.ModelStreamInferResponse(error_message=error.status.detail, infer_response=named)
        return pb.ModelStreamInferResponse(infer_response=answer)

    async def _infer(self, message: Any, client: str, seconds: float | None) -> Message:
        """Answer a request for inference.

        Args:
            message: the request, which must not be used any more.
            client: the address of the client.
            seconds: the time until the deadline of the call; None without a deadline.
        """
        began_at, plane, caller, size = time.perf_counter(), self._plane, callers.caller(client), message.ByteSize()
        flow, long = callers.flow(caller, size), size > MAX_BYTES_ON_LOOP
        # gRPC cancels the task if the caller goes, so nothing needs to be called then.
        arrival = Arrival(caller, KIND, began_at, began_at, lambda _: None)
        model = await plane.models.get(message.model_name, message.model_version or None)
        parts = Parts.of(message)
        request = await plane.work(one_step(lambda: read_request(parts)), flow, in_background=long)

        def read() -> Work[ParsedRequest]:
            parsed = parse(request, (yield from read_images(parts, request.inputs, plane.settings)), model)
            return parsed._replace(inference=parsed.inference._replace(seconds=seconds), id=parts.id)

        pictures = has_pictures(request.inputs)
        answered, parsed = await infer(plane, model, read(), arrival, flow, long=long, pictures=pictures)
        answer = await plane.run(
            lambda: write_answer(answered, parsed.outputs, parsed.id, typed=parts.typed),
            in_background=len(answered.images) > MAX_ROWS_ON_LOOP,
        )
        plane.written(KIND, answered)
        return answer


def _message(message: Message, report: BaseModel) -> Message:
    """A message with the fields of a report. Triton's messages have the names of the JSON documents."""
    ParseDict(report.model_dump(), message)
    return message


def _name(request: Any) -> str:
    """The name of a model to load or unload. KServe's messages have it where Triton's have the repository."""
    name: str = request.model_name or request.repository_name
    return name
