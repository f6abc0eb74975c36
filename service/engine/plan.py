"""How to solve a request: from its solver fields to a plan, the solver settings that a scheduler may choose from."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.artifact import Artifact
from models.profile import Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import NOT_BOOLEAN, SolveArguments, SolverSettings, Steps, Tolerance
from service.engine.tuning import BROWN_OUT_FROM, BROWN_OUT_TO
from service.errors import FieldError, InvalidError, shortened

LARGEST_NFE = 10_000
"""The greatest `max_nfe`. Even the method with the most stages needs fewer evaluations for `MAX_STEPS` attempts."""

MOST_TRACED = 16
"""Limit of images in a request with `trace`. One image may take `models.solvers.solve.MAX_STEPS` attempts, which make a
third of a megabyte of JSON."""

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]


NO_ARGUMENTS = SolveArguments(first_step=1.0, rtol=0.0, atol=0.0)


class SolverFields(BaseModel):
    """The fields of a request that say how to solve. All are optional; a model without an ODE accepts none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Annotated[
        str | None,
        Field(
            description=f"Adaptive: {', '.join(ADAPTIVE)}. With a fixed number of steps: {', '.join(FIXED)}. "
            "Default with a tolerance: the method that needs the fewest evaluations. Default without a tolerance: the "
            "model's default method.",
            json_schema_extra={"enum": [*ADAPTIVE, *FIXED]},
        ),
    ] = None
    tolerance: Annotated[
        Tolerance | None,
        Field(description="Sets both rtol and atol of an adaptive method. Tight is accurate, loose is fast."),
    ] = None
    rtol: Annotated[Tolerance | None, Field(description="Relative tolerance. Without atol, it sets atol too.")] = None
    atol: Annotated[Tolerance | None, Field(description="Absolute tolerance. Without rtol, it sets rtol too.")] = None
    steps: Annotated[Steps | None, Field(description="The number of equal steps of a fixed-step method.")] = None
    max_nfe: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST_NFE,
            description="Limit of evaluations of f for an image. When only one step is left, this step goes all the "
            "way to t = 1, and the outcome is max_nfe.",
        ),
        NOT_BOOLEAN,
    ] = None
    deadline_ms: Annotated[
        float | None,
        Field(
            ge=1,
            le=600_000,
            allow_inf_nan=False,
            description="Milliseconds in which the service must answer. Without a tolerance, the service chooses the "
            "tightest tolerance that is expected to fit. Shortly before the deadline, the last step goes all the way "
            "to t = 1, and the outcome is deadline. If even this step is too late, the answer is 504.",
        ),
        NOT_BOOLEAN,
    ] = None
    allow_degraded: Annotated[
        bool | None,
        Field(
            description="Whether a busy service may solve more loosely than requested. Default: true if the request "
            "gives neither a tolerance nor a number of steps."
        ),
    ] = None

    @property
    def open_ended(self) -> bool:
        """Whether the request leaves the accuracy to the service: it gives neither a tolerance nor a step count."""
        return self.tolerance is None and self.rtol is None and self.atol is None and self.steps is None


@dataclass(frozen=True)
class Candidate:
    """Solver settings for an image, with their expected cost.

    Attributes:
        solver: the settings; None for a model without an ODE.
        nfe: the mean number of function evaluations for an image, from the measured profile.
        nfe_p90: the number of evaluations that 90 % of images do not exceed.
    """

    solver: SolverSettings | None
    nfe: float = 0.0
    nfe_p90: float = 0.0

    @property
    def method(self) -> str | None:
        """The name of the method; None for a model without an ODE."""
        return None if self.solver is None else self.solver.method

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
        if self.solver is None:
            return None, 0
        method = METHODS[self.solver.method]
        attempts = max(1, round((self.nfe - method.evaluations_to_start) / method.evaluations_per_step))
        return method.name, (attempts.bit_length() - 1) // 2


@dataclass(frozen=True, eq=False)
class Plan:
    """How a request may be solved. The scheduler chooses a candidate for each image when the image leaves the queue.

    Attributes:
        candidates: from the tightest to the loosest, at least one. The first is the requested one, unless the deadline
            chooses.
        by_deadline: whether the remaining time chooses the candidate.
        max_nfe: the greatest number of function evaluations for an image.
        seconds: the deadline, in seconds after the arrival of the request.
        requested_rtol: the relative tolerance that the request names, if it names one.
    """

    candidates: tuple[Candidate, ...]
    by_deadline: bool = False
    max_nfe: int | None = None
    seconds: float | None = None
    requested_rtol: float | None = None

    def at_fullness(self, fullness: float) -> Candidate:
        """The candidate for a queue of some fullness, 0..1: the fuller the queue, the fewer evaluations.

        Between `BROWN_OUT_FROM` and `BROWN_OUT_TO`, the logarithm of the evaluations falls linearly from the first
        candidate to the last one.
        """
        first, last = self.candidates[0], self.candidates[-1]
        if len(self.candidates) == 1 or fullness <= BROWN_OUT_FROM:
            return first
        share = min(1.0, (fullness - BROWN_OUT_FROM) / (BROWN_OUT_TO - BROWN_OUT_FROM))
        most = first.nfe ** (1 - share) * last.nfe**share
        return next((candidate for candidate in self.candidates if candidate.nfe <= most), last)


def make_plan(artifact: Artifact, fields: SolverFields, floor: float) -> Plan:
    """Decide how a request may be solved.

    Args:
        artifact: the model's artifact.
        fields: the solver fields of the request.
        floor: the least agreement with the tight reference, in the measured profile, of the settings that a busy
            service may choose.

    Raises:
        InvalidError: the model does not have the method; a field does not fit the method or another field; or the
            model solves no ODE and the request gives a solver field.
    """
    requested = _requested_settings(fields, artifact)
    seconds = None if fields.deadline_ms is None else fields.deadline_ms / 1e3
    profile = artifact.profile
    if requested is None or profile is None:
        return Plan((Candidate(None),), seconds=seconds)
    methods = ADAPTIVE if fields.method is None else [fields.method]
    first = _candidate(requested, profile)
    if seconds is not None and fields.open_ended:
        affordable = _affordable(profile.candidates(methods, 0), fields.max_nfe)
        candidates = affordable or (first,)
        return Plan(candidates, by_deadline=bool(affordable), max_nfe=fields.max_nfe, seconds=seconds)
    candidates = (first,)
    if fields.allow_degraded or (fields.allow_degraded is None and fields.open_ended):
        looser = (point for point in profile.candidates(methods, floor) if _is_looser(point.solver, requested))
        candidates += tuple(each for each in _affordable(looser, fields.max_nfe) if each.nfe < first.nfe)
    requested_rtol = fields.tolerance or fields.rtol or fields.atol
    return Plan(candidates, max_nfe=fields.max_nfe, seconds=seconds, requested_rtol=requested_rtol)


def _affordable(points: Iterable[ProfilePoint], max_nfe: int | None) -> tuple[Candidate, ...]:
    """The settings of which at least one step fits into `max_nfe`."""
    most = math.inf if max_nfe is None else max_nfe
    return tuple(
        Candidate(point.solver, point.nfe.mean, point.nfe.p90)
        for point in points
        if METHODS[point.solver.method].least_evaluations <= most
    )


def _candidate(solver: SolverSettings, profile: Profile) -> Candidate:
    """Settings with their expected cost."""
    method = METHODS[solver.method]
    if solver.steps is not None:
        nfe = float(method.evaluations(solver.steps))
        return Candidate(solver, nfe, nfe)
    measured = profile.nearest(solver).nfe
    return Candidate(solver, measured.mean, measured.p90)


def _is_looser(one: SolverSettings, other: SolverSettings) -> bool:
    """Whether one is looser than the other. Fixed steps have no tolerance; there, only the costs are compared."""
    if one.rtol is None or other.rtol is None or other.atol is None:
        return True
    return one.rtol > max(other.rtol, other.atol)


def _requested_settings(fields: SolverFields, artifact: Artifact) -> SolverSettings | None:
    """The settings that the fields ask for; the measured profile decides the settings that the fields leave open.

    Returns:
        The settings; None for a model without an ODE.
    """
    default, profile = artifact.manifest.default_solver, artifact.profile
    if default is None or profile is None:
        _refuse_all(fields, artifact.manifest.name)
        return None
    tolerances = [value for value in (fields.tolerance, fields.rtol, fields.atol) if value is not None]
    if fields.method is None and tolerances:
        default = SolverSettings.adaptive(profile.method_for(min(tolerances)), min(tolerances))
    elif fields.method not in {None, default.method}:
        default = profile.cheapest([_known(fields.method, artifact)])
    solver = _adaptive(fields, default) if METHODS[default.method].adaptive else _fixed(fields, default)
    least = METHODS[solver.method].least_evaluations
    if fields.max_nfe is not None and fields.max_nfe < least:
        raise InvalidError(
            FieldError("max_nfe", f"a step of {solver.method} takes at least {least} evaluations", str(fields.max_nfe))
        )
    return solver


def _known(method: str | None, artifact: Artifact) -> str:
    """The method, if the model has it."""
    manifest = artifact.manifest
    if method not in manifest.methods:
        message = f"{manifest.name} has no such method; it has {', '.join(manifest.methods)}"
        raise InvalidError(FieldError("method", message, shortened(str(method))))
    return method


def _refuse_all(fields: SolverFields, name: str) -> None:
    """Refuse the fields that only a model with an ODE accepts."""
    message = f"{name} solves no ODE and accepts no solver fields"
    given = fields.model_dump(exclude={"deadline_ms", "allow_degraded"}, exclude_none=True)
    if given:
        raise InvalidError(*(FieldError(field, message, str(value)) for field, value in given.items()))


def _adaptive(fields: SolverFields, default: SolverSettings) -> SolverSettings:
    if fields.steps is not None:
        message = f"{default.method} is adaptive and chooses its own steps; only {', '.join(FIXED)} accept steps"
        raise InvalidError(FieldError("steps", message, str(fields.steps)))
    if fields.tolerance is not None:
        for field in ("rtol", "atol"):
            if (value := getattr(fields, field)) is not None:
                message = "tolerance sets both rtol and atol; give either tolerance, or rtol and atol"
                raise InvalidError(FieldError(field, message, f"{value:g}"))
        return SolverSettings.adaptive(default.method, fields.tolerance)
    return SolverSettings(
        method=default.method,
        rtol=fields.rtol or fields.atol or default.rtol,
        atol=fields.atol or fields.rtol or default.atol,
    )


def _fixed(fields: SolverFields, default: SolverSettings) -> SolverSettings:
    for field in ("tolerance", "rtol", "atol"):
        if (value := getattr(fields, field)) is not None:
            message = f"{default.method} takes a fixed number of steps; only {', '.join(ADAPTIVE)} accept a tolerance"
            raise InvalidError(FieldError(field, message, f"{value:g}"))
    return SolverSettings(method=default.method, steps=default.steps if fields.steps is None else fields.steps)
