"""``POST /predict``: digits from images, at the tolerance that the caller chooses."""

import time
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from models.backends.protocol import Answer, classify
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome
from service.api.body import JSON, MULTIPART, PICTURES, PIXELS, Asked, Part, parse, read
from service.api.examples import PREDICT_EXAMPLES
from service.api.problems import documented
from service.engine.compute import Workers
from service.engine.policy import SolverFields, resolve
from service.errors import (
    MOST_ERRORS,
    FieldError,
    InvalidError,
    MalformedError,
    TooLargeError,
    UnknownModelError,
    UnsupportedMediaTypeError,
    shortened,
)
from service.registry import Registry, ServedModel
from service.settings import Settings


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
        "Null for a fixed-step method, which estimates none."
    )
    outcome: str = Field(
        description="converged; max_steps or non_finite where the solve was given up before t = 1.",
        json_schema_extra={"enum": [outcome.name for outcome in Outcome]},
    )


class Prediction(BaseModel):
    """The answer to one image."""

    digit: int = Field(description="The most probable digit.")
    probabilities: list[float] = Field(description="Of the digits 0 to 9.", min_length=10, max_length=10)
    solver: Solve | None = Field(description="Null for a model without an ODE.")


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    queue: float = Field(description="Waiting for a thread.")
    decode: float = Field(description="From the body to pixels.")
    solve: float = Field(description="Stem, solve and head, of all images.")
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


def router(models: Registry, workers: Workers, settings: Settings) -> APIRouter:
    """The route over these models.

    Args:
        models: what answers.
        workers: where it is computed.
        settings: with the limits.
    """
    routes = APIRouter(tags=["predict"])

    @routes.post(
        "/predict",
        summary="Classify images of digits at a tolerance",
        response_model=PredictAnswer,
        responses=documented(MalformedError, UnknownModelError, TooLargeError, UnsupportedMediaTypeError, InvalidError),
        openapi_extra=_body_documentation(),
    )
    async def predict(request: Request, query: Annotated[SolverFields, Query()]) -> Response:
        """Classify one image or more.

        The body is JSON, a PNG, a JPEG, raw pixels, or a form of such files. For JSON the solver fields may stand in
        the body; for every other body they stand in the query. A picture of another size than 28x28 is brought to
        MNIST's form: grey, white on black, cropped to the ink, fitted to 20x20, its centre of mass in the middle.
        """
        _refuse_repetition(request)
        parts = await read(request)
        arrived = time.perf_counter()
        content = await workers.run(lambda waited: _predict(parts, query, waited, arrived))
        return Response(content, media_type=JSON)

    def _predict(parts: list[Part], query: SolverFields, waited: float, arrived: float) -> str:
        started = time.perf_counter()
        asked: Asked = parse(parts, query, settings)
        model = models.get(asked.fields.model)
        solver = resolve(asked.fields, model)
        decoded = time.perf_counter()
        answer = classify(model.backend, asked.images, solver)
        solved = time.perf_counter()
        timing = Timing(
            queue=1e3 * waited,
            decode=1e3 * (decoded - started),
            solve=1e3 * (solved - decoded),
            total=1e3 * (solved - arrived),
        )
        return _told(model, solver, answer, timing).model_dump_json()

    return routes


def _refuse_repetition(request: Request) -> None:
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := sorted(name for name, count in counts.items() if count > 1):
        raise InvalidError(
            *(FieldError(shortened(name), "is given twice in the query") for name in repeated[:MOST_ERRORS])
        )


def _told(model: ServedModel, solver: SolverSettings | None, answer: Answer, timing: Timing) -> PredictAnswer:
    """The answer as it is told."""
    solves = [None] * len(answer.digits) if solver is None else _solves(solver, answer)
    told = zip(answer.digits.tolist(), answer.probabilities.tolist(), solves, strict=True)
    predictions = [Prediction(digit=digit, probabilities=shares, solver=solve) for digit, shares, solve in told]
    return PredictAnswer(model=model.name, version=model.version, predictions=predictions, timing_ms=timing)


def _solves(solver: SolverSettings, answer: Answer) -> list[Solve]:
    """How each image was solved."""
    columns = (answer.steps, answer.rejected, answer.nfe, answer.error_estimate, answer.outcome)
    return [
        Solve(
            method=solver.method,
            rtol=solver.rtol,
            atol=solver.atol,
            nfe=nfe,
            steps=steps,
            rejected=rejected,
            error_estimate=error if solver.steps is None else None,
            outcome=Outcome(outcome).name,
        )
        for steps, rejected, nfe, error, outcome in zip(*(column.tolist() for column in columns), strict=True)
    ]
