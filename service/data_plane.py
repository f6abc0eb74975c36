"""What every protocol asks for: images in, answers out. Knows none of the protocols."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from models.backends.answer import Images
from models.solvers.solve import Outcome
from service.engine.compute import Workers
from service.engine.engine import Engine
from service.engine.job import Job, Priority
from service.engine.policy import MOST_TRACED, SolverFields
from service.engine.terms import settle
from service.errors import FieldError, InvalidError, UnknownModelError
from service.registry import ServedModel
from service.repository import Repository
from service.settings import Settings
from service.telemetry import context

FEW = 16
"""Images whose answers are told within the event loop."""

Result = TypeVar("Result")


class Asked(NamedTuple):
    """What a request asks.

    Attributes:
        images: ``[rows, 28, 28]`` of uint8.
        fields: how to solve for them.
        model: the model, or its name; None for the default one.
        version: of a model that is named; None for that which is served.
        priority: whose images are begun first.
        trace: whether to tell what each solve goes through.
    """

    images: Images
    fields: SolverFields
    model: ServedModel | str | None = None
    version: str | None = None
    priority: Priority = Priority.normal
    trace: bool = False


class DataPlane:
    """From what a request asks to the job that has its answer.

    Args:
        repository: the models.
        engine: where it is computed.
        workers: where long bodies are read and long answers written.
        settings: with the limits.
        on_end: called with each job after it has ended; nobody waits for that.

    Attributes:
        stopping: whether the process is about to end; set by its server, which still accepts and answers.
    """

    def __init__(
        self,
        repository: Repository,
        engine: Engine,
        workers: Workers,
        settings: Settings,
        on_end: Callable[[Job], object],
    ) -> None:
        self.repository = repository
        self.settings = settings
        self.stopping = False
        self._engine = engine
        self._workers = workers
        self._on_end = on_end

    async def ready(self) -> bool:
        """Whether requests should be sent here, and one that names no model would be answered."""
        try:
            await self.repository.get(None)
        except UnknownModelError:
            return False
        return self._engine.open and not self.stopping and self._engine.failure is None

    @property
    def failure(self) -> str | None:
        """Why nothing will be answered any more, until the process is replaced; None where all is well."""
        return self._engine.failure

    def check(self, rows: int, priority: Priority) -> None:
        """See whether there is room for images, before anything is done for them.

        Raises:
            OverloadedError: there is none.
        """
        self._engine.admission.check(rows, priority)

    async def beside(self, long: bool, call: Callable[[], Result]) -> Result:
        """Call beside the event loop what takes long, and within it what would take longer to hand over."""
        return await self._workers.run(call) if long else call()

    async def answer(self, asked: Asked, arrived: float, gone: Callable[[], Coroutine[None, None, None]]) -> Job:
        """Compute the answers to images.

        Args:
            asked: by a request.
            arrived: when its body was there, by `time.perf_counter`.
            gone: returns once nobody waits for the answer any more.

        Returns:
            The job, answered.

        Raises:
            UnknownModelError: no such model is served.
            InvalidError: a field does not go with the model or with another field, or with so many images.
            OverloadedError: there is no room in the queue.
            DeadlineError: the deadline passed.
            StoppingError: the service stops first.
            AbandonedError: nobody waits any more.
            ComputationError: the computation failed.
        """
        model = asked.model
        if not isinstance(model, ServedModel):
            model = await self.repository.get(model, asked.version)
        terms = settle(asked.fields, model, self.settings.floor)
        if asked.trace and len(asked.images) > MOST_TRACED:
            message = f"tells of at most {MOST_TRACED} images in a request"
            raise InvalidError(FieldError("trace", message, f"{len(asked.images):,} images"))
        job = Job(model, asked.images, terms, arrived, time.perf_counter(), asked.priority, traced=asked.trace)
        context.note(model=model.name, version=model.version, images=len(job.images))
        try:
            await self._engine.answer(job, gone)
        finally:
            # When the answer is on its way, which this would keep waiting.
            asyncio.get_running_loop().call_soon(self._on_end, job)
        context.note(nfe=int(job.answer.nfe.sum()), degraded=sum(job.degraded))
        return job


def solves(job: Job) -> dict[str, list[Any]]:
    """How each image of an answered job was solved, and what that cost: a column each.

    A fixed-step method has no tolerances and no error estimate, and its columns hold None. For a model without an ODE
    there is nothing to tell.
    """
    answer, solvers = job.answer, [rung.solver for rung in job.rungs]
    told = [solver for solver in solvers if solver is not None]
    if not told:
        return {}
    errors = answer.error_estimate.tolist()
    return {
        "method": [solver.method for solver in told],
        "rtol": [solver.rtol for solver in told],
        "atol": [solver.atol for solver in told],
        "nfe": answer.nfe.tolist(),
        "steps": answer.steps.tolist(),
        "rejected": answer.rejected.tolist(),
        "error_estimate": [error if solver.steps is None else None for solver, error in zip(told, errors, strict=True)],
        "outcome": [Outcome(outcome).name for outcome in answer.outcome.tolist()],
        "degraded": job.degraded,
    }
