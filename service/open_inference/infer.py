"""The path of a request for inference, from its tensors to the answers of the engine."""

from collections.abc import Sequence
from typing import NamedTuple

from models.backends.answer import Images
from service.engine.model import ServedModel
from service.engine.request import EngineRequest
from service.images.form import in_form
from service.inference.background import Work
from service.inference.data_plane import Arrival, DataPlane, InferenceRequest
from service.inference.pictures import grey_levels
from service.open_inference.inputs import BYTES, field_of
from service.open_inference.outputs import OutputChoice, choose_outputs
from service.open_inference.request import PRIORITIES, InferRequest, InputTensor

MAX_BYTES_ON_LOOP = 16 * 1024
"""The event loop reads a request only if the request has at most this many bytes."""


class ParsedRequest(NamedTuple):
    """A request for inference, the outputs of its answer, and its id."""

    inference: InferenceRequest
    outputs: list[OutputChoice]
    id: str | None


def parse(request: InferRequest, images: Images, model: ServedModel) -> ParsedRequest:
    """Parse a request whose images have been read.

    Raises:
        InvalidError: the request gives its deadline twice, or the model does not have a requested output.
    """
    parameters = request.parameters
    outputs = choose_outputs(request.outputs, model, binary=bool(parameters.binary_data_output))
    inference = InferenceRequest(images, parameters.solver_fields, priority=PRIORITIES[parameters.priority])
    return ParsedRequest(inference, outputs, request.id)


def has_pictures(inputs: Sequence[InputTensor]) -> bool:
    """Whether there are pictures to decode, which takes long even if the request is short."""
    return any(tensor.datatype == BYTES for tensor in inputs)


async def infer(
    plane: DataPlane,
    model: ServedModel,
    reading: Work[ParsedRequest],
    arrival: Arrival,
    flow: str,
    *,
    long: bool,
    pictures: bool,
) -> tuple[EngineRequest, ParsedRequest]:
    """Read the images of a request, convert grey levels to MNIST's form, and compute the answers.

    Args:
        plane: computes the answers.
        model: the model that answers.
        reading: the work that reads the images and parses the request.
        arrival: the arrival of the request.
        flow: the requests with which this one shares its turns in the background threads.
        long: whether to read takes long.
        pictures: whether the images are pictures. Then `reading` decodes them, and they have MNIST's form.

    Returns:
        The answered request, and the parsed request.

    Raises:
        RequestError: the request cannot be answered. `reading` and `DataPlane.answer` raise this error.
    """
    parsed = await plane.work(reading, flow, in_background=long or pictures)
    inference = parsed.inference
    if not pictures and not in_form(inference.images).all():
        levels = await plane.work(grey_levels(field_of, inference.images), flow, in_background=True)
        inference = inference._replace(images=levels)
    return await plane.answer(inference, arrival, model), parsed
