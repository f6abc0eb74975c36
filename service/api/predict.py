"""``POST /predict``: digits from images, at the tolerance that the caller chooses."""

import time
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic_core import to_json

from models.backends.trace import Trace
from models.solvers.solve import MAX_STEPS, Outcome
from service.api.body import JSON, MULTIPART, PICTURES, PIXELS, expected_images, is_short, parse, read
from service.api.examples import PREDICT_EXAMPLES
from service.api.inference_route import DirectRoute, gone, server_timing, timing
from service.api.problems import ANY, documented
from service.api.query import QueryFields, read_query
from service.engine.request import EngineRequest, Priority
from service.errors import (
    DeadlineError,
    InvalidError,
    MalformedError,
    OverloadedError,
    StoppingError,
    TooLargeError,
    UnknownModelError,
    UnsupportedMediaTypeError,
)
from service.inference.data_plane import MAX_ROWS_ON_LOOP, DataPlane, solve_columns


class Solve(BaseModel):
    """How an image was solved, and what that cost."""

    method: str
    rtol: float | None = Field(description="Null for a fixed-step method.")
    atol: float | None = Field(description="Null for a fixed-step method.")
    nfe: int = Field(description="Evaluations of the dynamics f.")
    steps: int = Field(description="Steps attempted, rejected ones included.")
    rejected: int = Field(description="Steps rejected, as their error was beyond the tolerance.")
    error_estimate: float | None = Field(
        description="The sum of the local error estimates of the accepted steps: root mean squares over the state. "
        "Null for a fixed-step method, which estimates none, and where it is no finite number."
    )
    outcome: str = Field(
        description="converged; max_nfe or deadline where the last step went all the way to t = 1 with an error that "
        "may be beyond the tolerance; max_steps or non_finite where the solve was given up before t = 1.",
        json_schema_extra={"enum": [outcome.name for outcome in Outcome]},
    )
    degraded: bool = Field(description="Whether the service was busy, and solved more loosely than was asked.")


class AttemptedStep(BaseModel):
    """A step of the solve, accepted or not."""

    t: float = Field(description="From where: 0 is the beginning of the depth, 1 its end.")
    size: float = Field(description="Of the step.")
    error: float | None = Field(
        description="The estimate of its local error, a root mean square over the state: of the accepted steps the sum "
        "is error_estimate. It is not the ratio to the tolerance that decides. Null for a fixed-step method, which "
        "estimates none, and where it is no finite number."
    )
    accepted: bool = Field(description="Whether the solve went on from its end; else a smaller one was tried.")


class Reading(BaseModel):
    """What the network would answer if the depth ended here."""

    t: float
    logits: list[float | None] = Field(
        description="Of the digits 0 to 9, before the softmax; null where one is no finite number.",
        min_length=10,
        max_length=10,
    )


class SolveTrace(BaseModel):
    """What a solve went through."""

    attempts: list[AttemptedStep] = Field(
        description="Every attempt, in their order: as many as solver.steps. heun2 at tolerance 1e-6 takes some 400; "
        f"a solve is given up after {MAX_STEPS:,}."
    )
    depth: list[Reading] = Field(
        description="At t = 0 and after each accepted step. The probabilities are the softmax of the last, "
        "divided by the model's temperature."
    )


class Prediction(BaseModel):
    """The answer to one image."""

    digit: int = Field(description="The most probable digit.")
    probabilities: list[float] = Field(description="Of the digits 0 to 9, calibrated.", min_length=10, max_length=10)
    solver: Solve | None = Field(description="Null for a model without an ODE.")
    image: list[list[int]] | None = Field(
        default=None, description="What the network saw: 28 rows of 28 grey levels. Only where trace is asked."
    )
    trace: SolveTrace | None = Field(
        default=None, description="Only where it is asked; null for a model without an ODE."
    )


class Timing(BaseModel):
    """Where the time went, in milliseconds; what comes after each other adds up, but for the writing of the answer."""

    decode: float = Field(description="From the body to pixels.")
    queue: float = Field(description="From then until the first image is begun.")
    stem: float = Field(description="From then until that is at t = 0.")
    solve: float = Field(description="From then until the last image is at t = 1.")
    head: float = Field(description="From then until that is classified.")
    total: float = Field(description="From the body being there to the answer.")


class PredictAnswer(BaseModel):
    """The answer to a request."""

    model: str
    version: str
    predictions: list[Prediction] = Field(description="One for each image, in their order.")
    timing_ms: Timing


def _body_documentation() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {
        JSON: {"schema": {"$ref": "#/components/schemas/PredictBody"}, "examples": PREDICT_EXAMPLES},
        **{picture: {"schema": binary} for picture in PICTURES},
        PIXELS: {"schema": {**binary, "description": "784 grey levels an image, row by row, one image or more."}},
        MULTIPART: {
            "schema": {"type": "object", "properties": {"files": {"type": "array", "items": binary}}},
            "encoding": {"files": {"contentType": ", ".join((*PICTURES, PIXELS))}},
        },
    }
    return {"requestBody": {"required": True, "content": content}}


class PredictRoute(DirectRoute):
    """A direct route whose query is read once for all requests that say the same."""

    def arguments(self, request: Request) -> dict[str, Any]:
        """The query."""
        return {"query": read_query(request.scope["query_string"])}


def route(plane: DataPlane) -> APIRoute:
    """The route, over what answers."""
    settings = plane.settings

    async def predict(request: Request, query: Annotated[QueryFields, Query()]) -> Response:
        """Classify one image or more.

        The body is JSON, a PNG, a JPEG, raw pixels, or a form of such files. For JSON the solver fields may stand in
        the body; for every other body they stand in the query. Pictures and grey levels that are not in MNIST's form
        are brought to it: the ink alone, white on black, fitted to 20x20, its centre of mass in the middle.
        """
        plane.check_room(expected_images(request, settings.max_images), Priority[query.priority])
        parts = await read(request)
        arrived_at = time.perf_counter()
        inference = await plane.run(lambda: parse(parts, query, settings), in_background=not is_short(parts))
        answered = await plane.answer(inference, arrived_at, lambda: gone(request))
        told = timing(answered)
        long = inference.trace or len(answered.images) > MAX_ROWS_ON_LOOP
        content = await plane.run(lambda: _written(answered, told, trace=inference.trace), in_background=long)
        return Response(content, headers=server_timing(told), media_type=JSON)

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
    return PredictRoute(
        "/predict",
        predict,
        methods=["POST"],
        tags=["predict"],
        summary="Classify images of digits at a tolerance",
        response_model=PredictAnswer,
        responses=ANY | documented(*refusals),
        openapi_extra=_body_documentation(),
    )


def _written(answered: EngineRequest, told: dict[str, float], *, trace: bool) -> bytes:
    """A `PredictAnswer`, written without building one, which would check what is known to be right."""
    answer, columns = answered.answer, solve_columns(answered)
    rows = zip(*columns.values(), strict=True) if columns else [None] * len(answered.images)
    predictions = zip(answer.digits.tolist(), answered.probabilities.tolist(), rows, strict=True)
    written = [
        {
            "digit": digit,
            "probabilities": probabilities,
            "solver": None if row is None else dict(zip(columns, row, strict=True)),
        }
        for digit, probabilities, row in predictions
    ]
    if trace:
        written = [prediction | _traced(answered, number) for number, prediction in enumerate(written)]
    return to_json(
        {"model": answered.model.name, "version": answered.model.version, "predictions": written, "timing_ms": told},
        inf_nan_mode="null",
    )


def _traced(answered: EngineRequest, number: int) -> dict[str, Any]:
    """What a `Prediction` has besides where a trace is asked."""
    trace, solver = answered.traces[number], answered.chosen[number].solver
    told = None if trace is None or solver is None else _steps_and_depth(trace, adaptive=solver.steps is None)
    return {"image": answered.images[number].tolist(), "trace": told}


def _steps_and_depth(trace: Trace, *, adaptive: bool) -> dict[str, Any]:
    """A `SolveTrace`."""
    attempts = [attempt._asdict() for attempt in trace.attempts]
    return {
        "attempts": attempts if adaptive else [attempt | {"error": None} for attempt in attempts],
        "depth": [{"t": reading.t, "logits": reading.logits.tolist()} for reading in trace.depth],
    }
