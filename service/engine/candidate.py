"""Candidates: the solver settings that a scheduler may choose for an image, with their expected cost."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

from models.profile import Ladder, Profile
from models.solvers.methods import METHODS
from models.solvers.settings import SolveArguments, SolverSettings

NO_ARGUMENTS = SolveArguments(first_step=1.0, rtol=0.0, atol=0.0)


@dataclass(frozen=True)
class Candidate:
    """Solver settings for an image, with their expected cost.

    Attributes:
        solver: the settings; None for a model without an ODE.
        nfe: the mean number of function evaluations for an image, over all of its solves, from the measured profile.
        nfe_p90: the number of evaluations that 90 % of images do not exceed.
        attempts: the number of steps that a solve by these settings is expected to attempt.
        threshold: an image whose margin is smaller than this is solved again.
        tighter: solves these images again; None if no image is solved again.
    """

    solver: SolverSettings | None
    nfe: float = 0.0
    nfe_p90: float = 0.0
    attempts: int = 1
    threshold: float = 0.0
    tighter: "Candidate | None" = None

    @classmethod
    def of_solver(cls, solver: SolverSettings, profile: Profile) -> Self:
        """The candidate for settings, with the costs of the nearest measured settings."""
        if solver.steps is not None:
            evaluations = float(METHODS[solver.method].evaluations(solver.steps))
            return cls(solver, evaluations, evaluations, solver.steps)
        nfe = profile.nearest(solver).nfe
        method = METHODS[solver.method]
        attempts = max(1, round((nfe.mean - method.evaluations_to_start) / method.evaluations_per_step))
        return cls(solver, nfe.mean, nfe.p90, attempts)

    @classmethod
    def of_ladder(cls, ladder: Ladder, profile: Profile) -> Self:
        """The candidate for the first rung of a ladder. The candidate has the cost of the whole ladder."""
        last, *before = [cls.of_solver(rung.solver, profile) for rung in reversed(ladder.rungs)]
        for rung, candidate in zip(reversed(ladder.rungs[:-1]), before, strict=True):
            last = replace(candidate, threshold=rung.threshold or 0.0, tighter=last)
        return replace(last, nfe=ladder.nfe.mean, nfe_p90=ladder.nfe.p90)

    @property
    def method(self) -> str | None:
        """The name of the method; None for a model without an ODE."""
        return None if self.solver is None else self.solver.method

    @property
    def tightest(self) -> "Candidate":
        """The candidate that solves the most doubtful images."""
        return self if self.tighter is None else self.tighter.tightest

    @property
    def least_evaluations(self) -> int:
        """The evaluations of one step of each solve that an image may need."""
        own = 0 if self.solver is None else METHODS[self.solver.method].least_evaluations
        return own + (self.tighter.least_evaluations if self.tighter else 0)

    # The scheduler reads these for each image, so a candidate computes them once.

    @cached_property
    def arguments(self) -> SolveArguments:
        """The arguments of a solve; a model without an ODE ignores them."""
        return NO_ARGUMENTS if self.solver is None else self.solver.arguments

    @cached_property
    def batch(self) -> tuple[str | None, int]:
        """The method and the class of the length; images of one model that share both are solved in one batch.

        The class is 0 for a solve of up to 3 attempted steps, 1 for up to 15, 2 for up to 63 and so on.
        """
        return self.method, (self.attempts.bit_length() - 1) // 2
