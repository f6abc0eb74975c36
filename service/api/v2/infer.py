"""``POST /v2/models/{name}/infer``: digits from tensors of images, at the tolerance that the caller chooses."""

import time
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.api.inference_route import DirectRoute, gone, server_timing, timing
from service.api.pictures import grey_levels
from service.api.v2.body import HEADER_LENGTH, LEVELS, InferParameters, InferRequest, Told, parted
from service.api.v2.errors import documented
from service.api.v2.examples import INFER_EXAMPLES
from service.api.v2.inputs import BYTES, field_of, raw_input, read_images
from service.api.v2.outputs import Wanted, wanted, written
from service.engine.plan import SolverFields
from service.engine.request import Priority
from service.errors import (
    DeadlineError,
    FieldError,
    InvalidError,
    MalformedError,
    OverloadedError,
    StoppingError,
    TooLargeError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)
from service.images.form import in_form
from service.inference.data_plane import MAX_ROWS_ON_LOOP, DataPlane, InferenceRequest

JSON = "application/json"
BINARY = "application/octet-stream"

SHORT = 16 * 1024
"""Bytes of a body that is read within the event loop."""

PRIORITIES = {None: Priority.normal, 0: Priority.normal, 1: Priority.high, 2: Priority.normal, LEVELS: Priority.low}


class Question(NamedTuple):
    """What a request asks, and how it is to be answered."""

    inference: InferenceRequest
    outputs: list[Wanted]
    id: str | None


def routes(plane: DataPlane) -> list[APIRoute]:
    """The routes over what answers."""
    settings = plane.settings

    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Classify the images of the tensor `image`: UINT8 or FP32 (0 to 1) `[-1, 28, 28]`, or PNG or JPEG as BYTES.

        The parameters of the request say how precisely to solve: `tolerance`, or `rtol` and `atol`, `method`, `steps`,
        `max_nfe`, `deadline_ms`, `allow_degraded`. The body is JSON, or with the header
        Inference-Header-Content-Length JSON and then the tensors in binary form; its media type is not looked at.
        """
        plane.check_room(1, Priority.high)  # it may be of any priority, which is known when it is read
        model = await plane.models.get(name, version)
        body = await request.body()
        arrived_at = time.perf_counter()
        encoding, header_length = _header(request, "content-encoding") or "", _header(request, HEADER_LENGTH)

        def read(told: Told) -> Question:
            infer_request = told.request or InferRequest(
                inputs=[raw_input(told.binary)], parameters=InferParameters(binary_data_output=True)
            )
            images = read_images(infer_request.inputs, told.binary, settings)
            parameters = infer_request.parameters
            outputs = wanted(infer_request.outputs, model, binary=parameters.binary_data_output)
            inference = InferenceRequest(images, _solver(parameters), model, priority=PRIORITIES[parameters.priority])
            return Question(inference, outputs, infer_request.id)

        long = len(body) > SHORT or bool(encoding)
        told = await plane.run(
            lambda: parted(body, encoding, header_length, settings.max_body_bytes), in_background=long
        )
        has_pictures = _has_pictures(told)
        question = await plane.run(lambda: read(told), in_background=long or has_pictures)
        inference = question.inference
        if not has_pictures and not in_form(inference.images).all():
            levels = await plane.run(lambda: grey_levels(field_of, inference.images), in_background=True)
            inference = inference._replace(images=levels)
        answered = await plane.answer(inference, arrived_at, lambda: gone(request))
        return await plane.run(
            lambda: _response(*written(answered, question.outputs, question.id), server_timing(timing(answered))),
            in_background=len(answered.images) > MAX_ROWS_ON_LOOP,
        )

    refusals = (
        MalformedError,
        UnknownModelError,
        TooLargeError,
        UnsupportedMediaTypeError,
        InvalidError,
        OverloadedError,
        StoppingError,
        DeadlineError,
    )
    return [
        DirectRoute(
            f"/v2/models/{{name}}{path}/infer",
            infer,
            methods=["POST"],
            tags=["open inference protocol"],
            summary=summary,
            responses=documented(*refusals) | {200: ANSWER},
            openapi_extra=_request_documentation(),
            operation_id=operation,
        )
        for path, summary, operation in (
            ("", "Classify images", "infer"),
            ("/versions/{version}", "Classify images by a version of a model", "infer_by_version"),
        )
    ]


def _header(request: Request, name: str) -> str | None:
    """A header as one text, however often it is there."""
    values = request.headers.getlist(name)
    return ", ".join(values) if values else None


def _has_pictures(told: Told) -> bool:
    """Whether there are pictures to decode, which takes long even where the body is short."""
    return told.request is not None and any(tensor.datatype == BYTES for tensor in told.request.inputs)


def _solver(parameters: InferParameters) -> SolverFields:
    """The solver fields among the parameters."""
    told = parameters.model_dump(include=parameters.model_fields_set & SolverFields.model_fields.keys())
    if parameters.timeout is not None:
        if parameters.deadline_ms is not None:
            message = "is the same as deadline_ms; give it or that"
            raise InvalidError(FieldError("parameters.timeout", message, str(parameters.timeout)))
        told["deadline_ms"] = parameters.timeout / 1e3
    return SolverFields.model_construct(**told)


def _response(content: bytes, binary: bytes | None, headers: dict[str, str]) -> Response:
    if binary is None:
        return Response(content, headers=headers, media_type=JSON)
    return Response(content + binary, headers=headers | {HEADER_LENGTH: str(len(content))}, media_type=BINARY)


TENSOR: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "parameters": {"type": "object"},
        "data": {"type": "array", "items": {}},
    },
    "required": ["name", "datatype", "shape"],
}
ANSWER: dict[str, Any] = {
    "description": "The outputs.",
    "content": {
        JSON: {
            "schema": {
                "type": "object",
                "properties": {
                    "model_name": {"type": "string"},
                    "model_version": {"type": "string"},
                    "id": {"type": "string"},
                    "outputs": {"type": "array", "items": TENSOR},
                },
                "required": ["model_name", "model_version", "outputs"],
            }
        },
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    },
    "headers": {
        "Inference-Header-Content-Length": {
            "description": "Bytes of the JSON, where tensors in binary form follow it.",
            "schema": {"type": "integer"},
        },
    },
}


def _request_documentation() -> dict[str, Any]:
    content = {
        JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}, "examples": INFER_EXAMPLES},
        BINARY: {"schema": {"type": "string", "format": "binary"}},
    }
    header = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "required": False,
        "description": "Bytes of the JSON, where tensors in binary form follow it.",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [header]}
