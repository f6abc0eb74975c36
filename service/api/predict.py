"""``POST /predict``: digits from images, at the tolerance that the caller chooses."""

import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.routing import request_response

from models.solvers.solve import Outcome
from service.api.body import JSON, MULTIPART, PICTURES, PIXELS, is_short, parse, read
from service.api.examples import PREDICT_EXAMPLES
from service.api.problems import ANY, documented
from service.api.query import QueryFields, read_query
from service.engine.compute import Workers
from service.engine.engine import Engine
from service.engine.job import Job, Priority
from service.engine.terms import settle
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
from service.registry import Registry
from service.settings import Settings

FEW = 16
"""Images whose answers are told within the event loop."""

Result = TypeVar("Result")


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
        description="converged; max_nfe or deadline where the last step went all the way to t = 1 with an error that "
        "may be beyond the tolerance; max_steps or non_finite where the solve was given up before t = 1.",
        json_schema_extra={"enum": [outcome.name for outcome in Outcome]},
    )
    degraded: bool = Field(description="Whether the service was busy, and solved more loosely than was asked.")


class Prediction(BaseModel):
    """The answer to one image."""

    digit: int = Field(description="The most probable digit.")
    probabilities: list[float] = Field(description="Of the digits 0 to 9.", min_length=10, max_length=10)
    solver: Solve | None = Field(description="Null for a model without an ODE.")


class Timing(BaseModel):
    """Where the time went, in milliseconds."""

    decode: float = Field(description="From the body to pixels.")
    queue: float = Field(description="From then until the first image is begun.")
    solve: float = Field(description="From then until the last is answered.")
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


class PredictRoute(APIRoute):
    """A route that FastAPI documents by its endpoint, and that reads the query itself.

    The query is read once for all requests that say the same; what FastAPI does to any request would take longer
    than all that is done here.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = request_response(self._answer)

    async def _answer(self, request: Request) -> Response:
        answer: Response = await self.endpoint(request, read_query(request.scope["query_string"]))
        return answer


def route(models: Registry, engine: Engine, workers: Workers, settings: Settings) -> APIRoute:
    """The route over these models.

    Args:
        models: what answers.
        engine: where it is computed.
        workers: where long bodies and answers are.
        settings: with the limits.
    """

    async def predict(request: Request, query: Annotated[QueryFields, Query()]) -> Response:
        """Classify one image or more.

        The body is JSON, a PNG, a JPEG, raw pixels, or a form of such files. For JSON the solver fields may stand in
        the body; for every other body they stand in the query. A picture of another size than 28x28 is brought to
        MNIST's form: grey, white on black, cropped to the ink, fitted to 20x20, its centre of mass in the middle.
        """
        parts = await read(request)
        arrived = time.perf_counter()
        asked = await _beside(workers, not is_short(parts), lambda: parse(parts, query.solver, settings))
        model = models.get(asked.fields.model)
        terms = settle(asked.fields, model, settings.floor)
        job = Job(model, asked.images, terms, arrived, Priority[query.priority])
        decoded = time.perf_counter()
        await engine.answer(job, lambda: _gone(request))
        content = await _beside(workers, len(job.images) > FEW, lambda: _told(job, decoded))
        return Response(content, media_type=JSON)

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


async def _beside(workers: Workers, long: bool, call: Callable[[], Result]) -> Result:
    """Call beside the event loop what takes long, and within it what would take longer to hand over."""
    return await workers.run(call) if long else call()


async def _gone(request: Request) -> None:
    """Return once the caller has disconnected; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _told(job: Job, decoded: float) -> bytes:
    """A `PredictAnswer`, written without building one, which would check what is known to be right."""
    answered, began = time.perf_counter(), job.begun_at or decoded
    answer, manifest = job.answer, job.model.artifact.manifest
    told = zip(answer.digits.tolist(), answer.probabilities.tolist(), _solves(job), strict=True)
    return to_json(
        {
            "model": manifest.name,
            "version": manifest.version,
            "predictions": [
                {"digit": digit, "probabilities": shares, "solver": solve} for digit, shares, solve in told
            ],
            "timing_ms": {
                "decode": 1e3 * (decoded - job.arrived),
                "queue": 1e3 * (began - decoded),
                "solve": 1e3 * (answered - began),
                "total": 1e3 * (answered - job.arrived),
            },
        }
    )


def _solves(job: Job) -> Iterator[dict[str, Any] | None]:
    """How each image was solved: a `Solve` each."""
    answer = job.answer
    columns = (answer.steps, answer.rejected, answer.nfe, answer.error_estimate, answer.outcome)
    values = zip(*(column.tolist() for column in columns), strict=True)
    for rung, degraded, (steps, rejected, nfe, error, outcome) in zip(job.rungs, job.degraded, values, strict=True):
        if (solver := rung.solver) is None:
            yield None
            continue
        yield {
            "method": solver.method,
            "rtol": solver.rtol,
            "atol": solver.atol,
            "nfe": nfe,
            "steps": steps,
            "rejected": rejected,
            "error_estimate": error if solver.steps is None else None,
            "outcome": Outcome(outcome).name,
            "degraded": degraded,
        }
