"""On what terms a request is solved: the settings that will do, and what they may cost."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from models.artifact import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from service.engine.policy import ADAPTIVE, SolverFields, resolve
from service.registry import ServedModel


class Rung(NamedTuple):
    """A setting by which an image may be solved.

    Attributes:
        solver: None for a model without an ODE.
        nfe: the mean of its function evaluations an image, as the profile has it.
        most_nfe: what nine images of ten stay within.
    """

    solver: SolverSettings | None
    nfe: float = 0.0
    most_nfe: float = 0.0

    @property
    def method(self) -> str | None:
        """The method; None for a model without an ODE."""
        return None if self.solver is None else self.solver.method

    @property
    def pace(self) -> int:
        """How long the solve goes on: 0 for up to 3 attempts, 1 for up to 15, 2 for up to 63, and so on."""
        if self.solver is None:
            return 0
        method = METHODS[self.solver.method]
        attempts = max(1, round((self.nfe - method.evaluations_to_start) / method.evaluations_per_step))
        return (attempts.bit_length() - 1) // 2


@dataclass(frozen=True)
class Terms:
    """What a request leaves to be decided when an image of it is begun, and within which limits.

    Attributes:
        rungs: the settings that will do, from the tightest to the loosest; at least one. Where the time left does not
            choose, the first is the one that is asked for.
        by_deadline: whether the time that is left chooses among them.
        max_nfe: the most evaluations an image.
        seconds: from the request's arrival, within which to answer.
        requested_rtol: the relative tolerance that the request names, if it does.
    """

    rungs: tuple[Rung, ...]
    by_deadline: bool = False
    max_nfe: int | None = None
    seconds: float | None = None
    requested_rtol: float | None = None


@lru_cache(maxsize=4096)
def settle(fields: SolverFields, model: ServedModel, floor: float) -> Terms:
    """The terms of a request.

    Args:
        fields: what it says.
        model: the one it asks.
        floor: the least agreement with the tight reference of a setting by which a busy service may solve.

    Raises:
        InvalidError: as `service.engine.policy.resolve`.
    """
    asked = resolve(fields, model)
    requested = fields.tolerance or fields.rtol or fields.atol
    seconds = None if fields.deadline_ms is None else fields.deadline_ms / 1e3
    profile = model.artifact.profile
    if asked is None or profile is None:
        return Terms((Rung(None),), seconds=seconds)
    methods = ADAPTIVE if fields.method is None else [fields.method]
    open_ended = not {"tolerance", "rtol", "atol", "steps"} & fields.model_dump(exclude_none=True).keys()
    if seconds is not None and open_ended:
        rungs = _affordable(profile.candidates(methods, 0), fields.max_nfe)
        return Terms(
            rungs or (_rung(asked, profile),), by_deadline=bool(rungs), max_nfe=fields.max_nfe, seconds=seconds
        )
    first = _rung(asked, profile)
    rungs = (first,)
    if fields.allow_degraded or (fields.allow_degraded is None and open_ended):
        looser = (point for point in profile.candidates(methods, floor) if _looser(point.solver, asked))
        rungs += tuple(rung for rung in _affordable(looser, fields.max_nfe) if rung.nfe < first.nfe)
    return Terms(rungs, max_nfe=fields.max_nfe, seconds=seconds, requested_rtol=requested)


def _affordable(points: Iterable[ProfilePoint], max_nfe: int | None) -> tuple[Rung, ...]:
    """The settings of which at least one step is within the limit."""
    most = math.inf if max_nfe is None else max_nfe
    return tuple(
        Rung(point.solver, point.nfe.mean, point.nfe.p90)
        for point in points
        if METHODS[point.solver.method].least_evaluations <= most
    )


def _rung(solver: SolverSettings, profile: Profile) -> Rung:
    """A setting with what it is expected to cost."""
    method = METHODS[solver.method]
    if solver.steps is not None:
        nfe = float(method.evaluations(solver.steps))
        return Rung(solver, nfe, nfe)
    nfe_measured = profile.nearest(solver).nfe
    return Rung(solver, nfe_measured.mean, nfe_measured.p90)


def _looser(one: SolverSettings, other: SolverSettings) -> bool:
    """Whether a setting is looser than another."""
    if one.rtol is None or other.rtol is None or other.atol is None:
        return True  # steps are compared by what they cost
    return one.rtol > max(other.rtol, other.atol)
