"""``POST /v2/models/{name}/infer``: classifies tensors of images, at the tolerance that the caller chooses."""

from contextlib import suppress
from inspect import cleandoc
from typing import Any
from urllib.parse import parse_qsl

from models.form import SIDE
from service.api.documents import parsing
from service.api.exchange import DOCUMENT_ID, Answer, Exchange
from service.api.inference_route import REFUSALS, InferenceRoute, server_timing, timing, written
from service.api.v2.body import HEADER_LENGTH, InferBody, parse_body
from service.api.v2.errors import documented
from service.api.v2.examples import INFER_EXAMPLES
from service.api.v2.inputs import raw_input, read_images
from service.api.v2.outputs import write_answer
from service.errors import MOST_ERRORS, FieldError, InvalidError, RequestError, UnknownModelError, shortened
from service.inference.background import Step, Work, one_step
from service.inference.data_plane import MAX_ROWS_ON_LOOP, DataPlane
from service.inference.pictures import check_plausible
from service.open_inference.infer import MAX_BYTES_ON_LOOP, ParsedRequest, has_pictures, infer, parse
from service.open_inference.request import InferParameters, InferRequest

JSON = "application/json"
BINARY = "application/octet-stream"

V2 = "v2"
"""The kind of body and answer."""


def routes(plane: DataPlane) -> list[InferenceRoute]:
    """The inference routes of a data plane: for a model, and for a version of a model."""
    settings = plane.settings

    async def parse_content(exchange: Exchange, body: bytes) -> tuple[InferBody, bool]:
        """Parse a body, and tell whether it is long or encoded. If it is, reading its images may take long too."""
        encoding, header_length = exchange.joined(b"content-encoding") or "", exchange.joined(HEADER_LENGTH.encode())
        long = len(body) > MAX_BYTES_ON_LOOP or bool(encoding)

        def note_id(document_id: str) -> None:
            exchange.scope[DOCUMENT_ID] = document_id

        most = settings.max_body_bytes, settings.max_images
        step = Step.parse if encoding else parsing(body)
        work = one_step(lambda: parse_body(body, encoding, header_length, *most, note_id), step)
        return await plane.work(work, exchange.flow, in_background=long), long

    async def infer_by_version(exchange: Exchange, name: str, version: str) -> Answer:
        return await answer(exchange, name, version)

    async def infer_by_name(exchange: Exchange, name: str) -> Answer:
        """Classify the images of the tensor `image`: UINT8 or FP32 (0 to 1) `[-1, 28, 28]`, or PNG or JPEG as BYTES.

        The parameters of the request set how precisely to solve: `agreement`, `escalate`, `tolerance`, or `rtol` and
        `atol`, `method`, `steps`, `max_nfe`, `deadline_ms`, `allow_degraded`. The body is JSON. With the header
        Inference-Header-Content-Length, the body is JSON followed by the tensors in binary form. The media type of the
        body is ignored.
        """
        return await answer(exchange, name, None)

    async def answer(exchange: Exchange, name: str, version: str | None) -> Answer:
        _refuse_query(exchange.scope["query_string"])
        try:
            model = await plane.models.get(name, version)
        except UnknownModelError:
            with suppress(RequestError):
                await parse_content(exchange, await exchange.body())  # only for the id, which the error repeats
            raise
        body = await exchange.body()
        arrival = exchange.arrival(V2)
        infer_body, long = await parse_content(exchange, body)

        def read() -> Work[ParsedRequest]:
            infer_request = infer_body.request or _raw_request(infer_body.binary)
            images = yield from read_images(infer_request.inputs, infer_body.binary, settings)
            return parse(infer_request, images, model)

        pictures = infer_body.request is not None and has_pictures(infer_body.request.inputs)
        answered, parsed = await infer(plane, model, read(), arrival, exchange.flow, long=long, pictures=pictures)
        content = await plane.run(
            lambda: _written(*write_answer(answered, parsed.outputs, parsed.id), server_timing(timing(answered))),
            in_background=len(answered.images) > MAX_ROWS_ON_LOOP,
        )
        plane.written(V2, answered)
        return content

    return [
        InferenceRoute(
            f"/v2/models/{{name}}{path}/infer",
            endpoint,
            description=cleandoc(infer_by_name.__doc__ or ""),
            methods=["POST"],
            tags=["open inference protocol"],
            summary=summary,
            response_model=None,
            responses=documented(*REFUSALS) | {200: ANSWER},
            openapi_extra=_request_documentation(),
            operation_id=operation,
        )
        for path, summary, operation, endpoint in (
            ("", "Classify images", "infer", infer_by_name),
            ("/versions/{version}", "Classify images by a version of a model", "infer_by_version", infer_by_version),
        )
    ]


def _refuse_query(query: bytes) -> None:
    """Refuse the fields of a query. If we ignored them, the caller would believe that they had an effect."""
    if query:
        message = "is not read from the query here; put it into the parameters of the request"
        names = [name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True)][:MOST_ERRORS]
        raise InvalidError(*(FieldError(shortened(name), message) for name in names or ["query"]))


def _raw_request(binary: memoryview) -> InferRequest:
    """The request of a body that holds only the bytes of UINT8 images."""
    tensor = raw_input(binary)
    if tensor.shape[0] > 1 and len(binary) % (SIDE * SIDE) == 0:
        check_plausible("body", bytes(binary), "give their number as the shape of a tensor")
    return InferRequest(inputs=[tensor], parameters=InferParameters(binary_data_output=True))


def _written(content: bytes, binary: bytes | None, timing_header: tuple[bytes, bytes]) -> Answer:
    """The answer with the JSON, and with the tensors in binary form if there are any."""
    if binary is None:
        return written(content, JSON.encode(), timing_header)
    length = HEADER_LENGTH.encode(), b"%d" % len(content)
    return written(content + binary, BINARY.encode(), timing_header, length)


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
            "description": "The number of bytes of the JSON, if tensors in binary form follow it.",
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
        "description": "The number of bytes of the JSON, if tensors in binary form follow it.",
        "schema": {"type": "integer", "minimum": 0},
    }
    return {"requestBody": {"required": True, "content": content}, "parameters": [header]}
