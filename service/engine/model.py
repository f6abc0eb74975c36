"""A model that is ready to answer: its artifact, the backend that runs it, and its measured costs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Self

from models.artifact import Artifact
from models.backends.protocol import Backend
from models.solvers.methods import METHODS
from service.engine.costs import Costs
from service.engine.plan import Plan, SolverFields, make_plan

LARGEST_BATCH = {"cpu": 64, "cuda": 256}
"""The greatest batch, in images, by device. A larger batch leaves the caches of a CPU; only a large one fills a GPU."""

PLANS_KEPT = 4096
"""Plans that a model keeps, because most requests repeat the solver fields of an earlier request."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """An artifact, the backend that runs the artifact, and the costs of its parts on this machine."""

    artifact: Artifact
    backend: Backend
    costs: Costs

    @classmethod
    def warm(cls, artifact: Artifact, backend: Backend, device: str = "cpu") -> Self:
        """Run the model for the first time, which is slow, and measure its costs while it runs."""
        costs = Costs.measure(backend, artifact.manifest.default_solver, LARGEST_BATCH[device])
        return cls(artifact, backend, costs)

    @property
    def name(self) -> str:
        """The name that a request gives to choose the model."""
        return self.artifact.manifest.name

    @property
    def version(self) -> str:
        """The version of the model."""
        return self.artifact.manifest.version

    @property
    def step_seconds(self) -> float:
        """Estimated seconds of a step of one image alone by the default method (see `Costs.step`)."""
        default = self.artifact.manifest.default_solver
        return self.costs.step(1, 0 if default is None else METHODS[default.method].evaluations_per_step)

    @cached_property
    def plan(self) -> Callable[[SolverFields, float], Plan]:
        """`make_plan` for this model. The model keeps its plans, so the plans go when the model goes.

        The function holds the artifact and not the model, so that it does not keep the model alive.
        """
        return lru_cache(PLANS_KEPT)(partial(make_plan, self.artifact))
