"""The data plane: images in, answers out, for every protocol. It knows none of the protocols."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from models.backends.answer import Images
from models.solvers.solve import Outcome
from service.engine.engine import Engine, OnDisconnect
from service.engine.model import ServedModel
from service.engine.plan import LONGEST_DEADLINE, MOST_TRACED, Plan, SolverFields
from service.engine.quantile import Quantile
from service.engine.request import Demand, EngineRequest, Priority
from service.engine.tuning import AFTER_SOLVE
from service.errors import FieldError, InvalidError, UnknownModelError
from service.hosting.manager import ModelManager
from service.inference.background import BackgroundThreads, Work, finish
from service.settings import Settings
from service.telemetry import context

FIRST_AFTER_SOLVE = 5e-4
"""Seconds to write an answer that a deadline leaves before any was measured."""

MAX_ROWS_ON_LOOP = 16
"""The event loop writes an answer for at most this many images. For so few, the hand-over to a thread takes longer."""

Result = TypeVar("Result")


class InferenceRequest(NamedTuple):
    """A request for inference, read from any protocol.

    Attributes:
        images: uint8 ``[rows, 28, 28]``.
        fields: how to solve.
        model: the name of the model; None for the default model.
        version: the version of a named model; None for the version that is served.
        priority: decides which queued images start first.
        trace: whether to record the steps of each solve.
        seconds: the time limit that the protocol itself sets, in seconds after the arrival; None for none. The earlier
            of this limit and `deadline_ms` is the deadline.
    """

    images: Images
    fields: SolverFields
    model: str | None = None
    version: str | None = None
    priority: Priority = Priority.normal
    trace: bool = False
    seconds: float | None = None


class Arrival(NamedTuple):
    """The arrival of a request. Times are by `time.perf_counter`.

    Attributes:
        caller: who asks: the name of an API key, or a network address.
        kind: the kind of body and answer. The time to write an answer is measured for each kind.
        began_at: when the first byte of the request was read.
        body_at: when the body had been read.
        on_disconnect: calls a function once the caller has disconnected.
    """

    caller: str
    kind: str
    began_at: float
    body_at: float
    on_disconnect: OnDisconnect


class DataPlane:
    """Plans a request, submits it to the engine, and returns it with its answer.

    Args:
        models: the models that are served.
        engine: computes the answers.
        background: threads that read long bodies and write long answers.
        settings: the settings of the service, with the limits.

    Attributes:
        engine: computes the answers.
        stopping: whether the process is about to end. The server sets this flag, and still answers requests for a time.
    """

    def __init__(
        self,
        models: ModelManager,
        engine: Engine,
        background: BackgroundThreads,
        settings: Settings,
    ) -> None:
        self.models = models
        self.settings = settings
        self.stopping = False
        self.engine = engine
        self._background = background
        self._after_solve = defaultdict[str, Quantile](lambda: Quantile(AFTER_SOLVE, FIRST_AFTER_SOLVE))

    async def ready(self) -> bool:
        """Whether load balancers should send requests here: the engine works and the default model is served."""
        try:
            await self.models.get(None)
        except UnknownModelError:
            return False
        return self.engine.open and not self.stopping and self.engine.failure is None

    @property
    def failure(self) -> str | None:
        """Why this process will answer no more requests and must be replaced; None while all is well."""
        return self.engine.failure

    def check_room(self, model: ServedModel, fields: SolverFields, rows: int, priority: Priority, caller: str) -> None:
        """Check that a request would be admitted to the queue, before its body is read.

        Raises:
            InvalidError: a field does not fit the model or another field.
            OverloadedError: the work in the queue would delay the request too long.
        """
        plan = model.plan(fields, self.settings.floor)
        self.engine.admission.check(Demand.of(model, plan, rows, priority, caller))

    async def work(self, work: Work[Result], flow: str, *, in_background: bool) -> Result:
        """Do the work of a request: step by step in background threads if it takes long, else right here."""
        return await self._background.work(work, flow) if in_background else finish(work)

    async def run(self, call: Callable[[], Result], *, in_background: bool) -> Result:
        """Call a function: in a background thread if it takes long, else right here, which avoids the handover."""
        return await self._background.run(call) if in_background else call()

    async def answer(
        self,
        inference: InferenceRequest,
        arrival: Arrival,
        model: ServedModel | None = None,
    ) -> EngineRequest:
        """Compute the answers to the images of a request.

        A deadline counts from the first byte of the request, which may have waited in the socket while the event loop
        computed. It leaves time to write the answer, as much as answers of the kind have taken.

        Args:
            inference: the request.
            arrival: its arrival.
            model: the model of the request, if the caller of this method has resolved its name.

        Returns:
            The engine request, answered.

        Raises:
            UnknownModelError: no such model is served.
            InvalidError: a field does not fit the model, another field, or the number of images.
            OverloadedError: other work would delay the request too long, or has delayed it too long.
            DeadlineError: the deadline passed.
            StoppingError: the service stopped first.
            AbandonedError: the caller disconnected.
            ComputationError: the computation failed.
        """
        images = inference.images
        if model is None:
            model = await self.models.get(inference.model, inference.version)
        plan = self._plan(model, inference)
        if inference.trace and len(images) > MOST_TRACED:
            message = f"is available for at most {MOST_TRACED} images in a request"
            raise InvalidError(FieldError("trace", message, f"{len(images):,} images"))
        now = time.perf_counter()
        waited, to_write = self.engine.lag(arrival.began_at), self._after_solve[arrival.kind].value
        request = EngineRequest(
            model,
            images,
            plan,
            arrival.body_at,
            now,
            inference.priority,
            arrival.caller,
            arrival.began_at - waited - to_write,
            traced=inference.trace,
        )
        context.current().inference = request
        await self.engine.answer(request, arrival.on_disconnect)
        return request

    def written(self, kind: str, request: EngineRequest) -> None:
        """Note that the answer to a request of a kind has been written, to measure how long this takes."""
        if request.answered_at is not None:
            self._after_solve[kind].add(time.perf_counter() - request.answered_at)

    def _plan(self, model: ServedModel, inference: InferenceRequest) -> Plan:
        """Decide how to solve a request."""
        fields, seconds = inference.fields, inference.seconds
        if seconds is None or (fields.deadline_ms is not None and fields.deadline_ms <= 1e3 * seconds):
            return model.plan(fields, self.settings.floor)
        # The model keeps its plans by their fields. With one value for all limits, it keeps one plan for all of them.
        plan = model.plan(fields.model_copy(update={"deadline_ms": LONGEST_DEADLINE}), self.settings.floor)
        return replace(plan, seconds=seconds)


def solve_columns(request: EngineRequest) -> dict[str, list[Any]]:
    """How each image of an answered request was solved, and its cost: one column per quantity, one value per image.

    The settings and the steps are those of the last solve of an image; the evaluations are those of all of its solves.
    A fixed-step method has no tolerances and no error estimate, so those columns hold None. A model without an ODE has
    no columns.
    """
    answer = request.answer
    solvers = [candidate.solver for candidate in request.chosen if candidate.solver is not None]
    if not solvers:
        return {}
    errors = zip(solvers, answer.error_estimate.tolist(), strict=True)
    return {
        "method": [solver.method for solver in solvers],
        "rtol": [solver.rtol for solver in solvers],
        "atol": [solver.atol for solver in solvers],
        "nfe": answer.nfe.tolist(),
        "steps": answer.steps.tolist(),
        "rejected": answer.rejected.tolist(),
        "error_estimate": [error if solver.steps is None else None for solver, error in errors],
        "outcome": [Outcome(outcome).name for outcome in answer.outcome.tolist()],
        "escalated": request.escalated,
        "degraded": request.degraded,
    }
