"""``POST /predict``: classifies images of digits, at the tolerance that the caller chooses."""

from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, Field
from pydantic_core import to_json

from models.backends.trace import Trace
from models.solvers.solve import MAX_STEPS, Outcome
from service.api.body import (
    JSON,
    MULTIPART,
    PICTURES,
    PIXELS,
    Body,
    expected_images,
    parse,
    supported_type,
)
from service.api.examples import PREDICT_EXAMPLES
from service.api.exchange import Answer, Exchange
from service.api.inference_route import REFUSALS, InferenceRoute, server_timing, timing, written
from service.api.problems import ANY, documented
from service.api.query import QueryFields, read_query
from service.engine.request import EngineRequest
from service.inference.data_plane import MAX_ROWS_ON_LOOP, DataPlane, InferenceRequest, solve_columns


class Solve(BaseModel):
    """How an image was solved, and the cost. The settings and the steps are those of the last solve of the image."""

    method: str
    rtol: float | None = Field(description="Null for a fixed-step method.")
    atol: float | None = Field(description="Null for a fixed-step method.")
    nfe: int = Field(description="Evaluations of the dynamics f, over all solves of the image.")
    steps: int = Field(description="Steps attempted, rejected ones included.")
    rejected: int = Field(description="Steps rejected because their error exceeded the tolerance.")
    error_estimate: float | None = Field(
        description="The sum of the local error estimates of the accepted steps: root mean squares over the state. "
        "Null for a fixed-step method, which estimates no error, and if the sum is not finite."
    )
    outcome: str = Field(
        description="converged; max_nfe or deadline if the last step went all the way to t = 1, with an error that "
        "may exceed the tolerance, or if there was no budget or no time to solve a doubtful image again; max_steps or "
        "non_finite if the solve stopped before t = 1.",
        json_schema_extra={"enum": [outcome.name for outcome in Outcome]},
    )
    escalated: bool = Field(
        description="Whether the image was solved again, more tightly, because the margin of the first solve was small."
    )
    degraded: bool = Field(description="Whether the service was busy and solved more loosely than requested.")


class AttemptedStep(BaseModel):
    """A step of the solve, accepted or not."""

    t: float = Field(description="The start of the step: 0 is the beginning of the depth, 1 is its end.")
    size: float = Field(description="The size of the step.")
    error: float | None = Field(
        description="The estimate of the local error of the step, a root mean square over the state. error_estimate "
        "is the sum over the accepted steps. It is not the ratio to the tolerance, which decides about acceptance. "
        "Null for a fixed-step method, which estimates no error, and if the estimate is not finite."
    )
    accepted: bool = Field(
        description="Whether the solve went on from the end of the step. Otherwise the solver tried a smaller step."
    )


class Reading(BaseModel):
    """The answer that the network would give if the depth ended here."""

    t: float
    logits: list[float | None] = Field(
        description="The logits of the digits 0 to 9, before the softmax; null where a logit is not finite.",
        min_length=10,
        max_length=10,
    )
    channels: list[float | None] = Field(
        description="The mean of each channel of the state over its positions, rounded to three decimal places. Null "
        "where a mean is not finite."
    )


class SolveTrace(BaseModel):
    """The steps of a solve."""

    attempts: list[AttemptedStep] = Field(
        description="All attempted steps in their order; their number is solver.steps. heun2 at tolerance 1e-6 takes "
        f"about 520 steps in odenet-mnist. A solve stops after {MAX_STEPS:,}."
    )
    depth: list[Reading] = Field(
        description="The logits and the state's channels at t = 0 and after each accepted step. The probabilities are "
        "the softmax of the last logits, divided by the model's temperature."
    )


class Prediction(BaseModel):
    """The answer to one image."""

    digit: int = Field(description="The most probable digit.")
    probabilities: list[float] = Field(
        description="The calibrated probabilities of the digits 0 to 9.", min_length=10, max_length=10
    )
    margin: float | None = Field(
        description="The difference between the two greatest logits. A small margin means a doubtful digit. Null if it "
        "is not finite."
    )
    solver: Solve | None = Field(description="Null for a model without an ODE.")
    image: list[list[int]] | None = Field(
        default=None, description="The image that the network saw: 28 rows of 28 grey levels. Only with trace."
    )
    trace: SolveTrace | None = Field(
        default=None, description="The steps of the last solve. Only with trace; null for a model without an ODE."
    )
    looser_traces: list[SolveTrace] = Field(
        default=[], description="The steps of the solves before the last one. Only with trace; empty unless escalated."
    )


class Timing(BaseModel):
    """Where the time went, in milliseconds. The phases add up to the total, except for the writing of the answer."""

    decode: float = Field(description="From the arrival of the body to the pixels.")
    queue: float = Field(description="From the pixels until the first image leaves the queue.")
    stem: float = Field(description="From there until the first image is at t = 0.")
    solve: float = Field(description="From there until the last image is at t = 1.")
    head: float = Field(description="From there until the last image is classified.")
    total: float = Field(description="From the arrival of the body to the answer.")


class PredictAnswer(BaseModel):
    """The answer to a request."""

    model: str
    version: str
    predictions: list[Prediction] = Field(description="One prediction for each image, in the order of the images.")
    timing_ms: Timing


DECIMALS = 3
"""Decimal places of the means of the channels in a trace. More of them would make a long trace several times longer."""

PIXELS_DESCRIPTION = (
    "One or more images, each as 784 grey levels, row by row. Several images need count in the query, unless each "
    "image or its negative is in MNIST's form."
)


def _body_documentation() -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    content: dict[str, Any] = {
        JSON: {"schema": {"$ref": "#/components/schemas/PredictBody"}, "examples": PREDICT_EXAMPLES},
        **{picture: {"schema": binary} for picture in PICTURES},
        PIXELS: {"schema": {**binary, "description": PIXELS_DESCRIPTION}},
        MULTIPART: {
            "schema": {"type": "object", "properties": {"files": {"type": "array", "items": binary}}},
            "encoding": {"files": {"contentType": ", ".join((*PICTURES, PIXELS))}},
        },
    }
    return {"requestBody": {"required": True, "content": content}}


class PredictRoute(InferenceRoute):
    """An inference route that reads its query through `read_query`, which remembers repeated queries."""

    async def answer(self, exchange: Exchange, path_parameters: dict[str, str]) -> Answer:  # noqa: ARG002
        """Call the endpoint with the query."""
        answer: Answer = await self.endpoint(exchange, read_query(exchange.scope["query_string"]))
        return answer


def route(plane: DataPlane) -> InferenceRoute:
    """The route `POST /predict` of a data plane."""
    settings = plane.settings

    async def predict(exchange: Exchange, query: Annotated[QueryFields, Query()]) -> Answer:
        """Each image is solved on its own, with its own step sizes.

        The body is JSON, a PNG, a JPEG, raw pixels, or multipart/form-data with files of pictures and raw pixels. A
        JSON body may hold the solver fields; with any other body the solver fields go into the query. Pictures and grey
        levels that are not in MNIST's form are converted to it: only the ink, white on black, fitted to 20x20 pixels,
        with the centre of mass of the ink in the middle.
        """
        body_type = supported_type(exchange)
        # Only the body of a request in JSON may name the model. Then we know the model after we have parsed the body.
        known = query.model is not None or body_type != JSON
        model = await plane.models.get(query.model) if known else None
        if model is not None and body_type != JSON:
            rows = expected_images(exchange, settings.max_images)
            plane.check_room(model, query.solver, rows, query.level, exchange.caller)
        body = Body(body_type, exchange.first(b"content-type"), await exchange.body())
        arrival = exchange.arrival(body_type)
        parsed = parse(body, query, settings)
        inference = (
            parsed
            if isinstance(parsed, InferenceRequest)
            else await plane.work(parsed, exchange.flow, in_background=True)
        )
        answered = await plane.answer(inference, arrival, model)
        timing_ms = timing(answered)
        long = inference.trace or len(answered.images) > MAX_ROWS_ON_LOOP
        content = await plane.run(lambda: _write_answer(answered, timing_ms, trace=inference.trace), in_background=long)
        plane.written(body_type, answered)
        return written(content, JSON.encode(), server_timing(timing_ms))

    return PredictRoute(
        "/predict",
        predict,
        methods=["POST"],
        tags=["predict"],
        summary="Classify images of digits at a tolerance",
        response_model=PredictAnswer,
        operation_id="predict",
        responses=ANY | documented(*REFUSALS),
        openapi_extra=_body_documentation(),
    )


def _write_answer(answered: EngineRequest, timing_ms: dict[str, float], *, trace: bool) -> bytes:
    """Write a `PredictAnswer` as JSON. We do not build the model, because that would validate values we know."""
    answer, columns = answered.answer, solve_columns(answered)
    solves = zip(*columns.values(), strict=True) if columns else [None] * len(answered.images)
    predictions = [
        {
            "digit": digit,
            "probabilities": probabilities,
            "margin": margin,
            "solver": None if solve is None else dict(zip(columns, solve, strict=True)),
        }
        for digit, probabilities, margin, solve in zip(
            answer.digits.tolist(), answered.probabilities.tolist(), answered.margins.tolist(), solves, strict=True
        )
    ]
    if trace:
        predictions = [prediction | _image_and_trace(answered, row) for row, prediction in enumerate(predictions)]
    model = answered.model
    return to_json(
        {"model": model.name, "version": model.version, "predictions": predictions, "timing_ms": timing_ms},
        inf_nan_mode="null",
    )


def _image_and_trace(answered: EngineRequest, row: int) -> dict[str, Any]:
    """The fields that a `Prediction` has only with a trace."""
    trace, solver = answered.traces[row], answered.chosen[row].solver
    solve_trace = None if trace is None or solver is None else _solve_trace(trace, adaptive=solver.steps is None)
    looser_traces = [_solve_trace(each) for each in answered.looser_traces[row]]
    return {"image": answered.images[row].tolist(), "trace": solve_trace, "looser_traces": looser_traces}


def _solve_trace(trace: Trace, *, adaptive: bool = True) -> dict[str, Any]:
    """The fields of a `SolveTrace`. The solves of a ladder are adaptive."""
    attempts = [attempt._asdict() for attempt in trace.attempts]
    return {
        "attempts": attempts if adaptive else [attempt | {"error": None} for attempt in attempts],
        "depth": [
            {
                "t": reading.t,
                "logits": reading.logits.tolist(),
                "channels": [round(mean, DECIMALS) for mean in reading.channels.tolist()],
            }
            for reading in trace.depth
        ],
    }
