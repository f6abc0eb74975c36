"""How to solve a request: from its solver fields to a plan, the solver settings that a scheduler may choose from."""

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.artifact import Artifact
from models.profile import SUFFICIENT_AGREEMENT, Ladder, Profile
from models.solvers.methods import METHODS
from models.solvers.settings import PLAIN_NUMBER, SolverSettings, Steps, Tolerance
from service.engine.candidate import Candidate
from service.engine.tuning import BROWN_OUT_FROM, BROWN_OUT_TO
from service.errors import FieldError, InvalidError, as_sent, shortened

LARGEST_NFE = 10_000
"""The greatest `max_nfe`. Even the method with the most stages needs fewer evaluations for `MAX_STEPS` attempts."""

LONGEST_DEADLINE = 600_000
"""The greatest deadline of a request, in milliseconds."""

MOST_TRACED = 16
"""Limit of images in a request with `trace`. One image may take `models.solvers.solve.MAX_STEPS` attempts, which make a
third of a megabyte of JSON."""

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]


PRECISION = ("tolerance", "rtol", "atol", "steps", "method")
"""The fields that name solver settings, or a part of them."""

WITHOUT_ODE = ("deadline_ms", "allow_degraded")
"""The fields that a model without an ODE accepts too."""


class SolverFields(BaseModel):
    """The fields of a request that say how to solve. All are optional; a model without an ODE accepts none of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Annotated[
        str | None,
        Field(
            description=f"Adaptive: {', '.join(ADAPTIVE)}. With a fixed number of steps: {', '.join(FIXED)}. "
            "Default with a tolerance: the method that needs the fewest evaluations. Default without a tolerance: see "
            "agreement.",
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
    agreement: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            allow_inf_nan=False,
            description="The least share of images that get the digit of a tight solve. The service solves each image "
            "loosely, and solves it again more tightly if the margin between its two greatest logits is small. It "
            "chooses the cheapest way whose agreement was measured to be at least this, with the confidence in the "
            f"model's profile. 1 solves every image tightly.  Default: {SUFFICIENT_AGREEMENT}, if the request names "
            "no other way to solve, and max_nfe allows it.",
        ),
        PLAIN_NUMBER,
    ] = None
    escalate: Annotated[
        bool | None,
        Field(
            description="Whether the service may solve an image with a small margin again. False solves every image "
            "once, by the model's default settings.  Default: true, if the request names no settings."
        ),
    ] = None
    max_nfe: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST_NFE,
            description="Limit of evaluations of f for an image, over all of its solves. When only one step is left, "
            "this step goes all the way to t = 1, and the outcome is max_nfe. If the limit is below one step of each "
            "solve of the default agreement, every image is solved once, by the model's default settings. A limit "
            "below one step is refused.",
        ),
        PLAIN_NUMBER,
    ] = None
    deadline_ms: Annotated[
        float | None,
        Field(
            ge=1,
            le=LONGEST_DEADLINE,
            allow_inf_nan=False,
            description="Milliseconds from the first byte of the request to the last byte of the answer. If the "
            "request names no settings, an image with a small margin is solved again only if there is time. With "
            "escalate=false, or with a method but neither a tolerance nor steps, the service chooses the tightest "
            "settings that are expected to be in time. Shortly before the deadline, the last step goes all the way to "
            "t = 1, and the outcome is deadline. If even this step would be too late, the answer is 504 at once.",
        ),
        PLAIN_NUMBER,
    ] = None
    allow_degraded: Annotated[
        bool | None,
        Field(
            description="Whether a busy service may solve more loosely than requested. Default: true if the request "
            "gives neither a tolerance nor a number of steps nor an agreement."
        ),
    ] = None

    @property
    def open_ended(self) -> bool:
        """Whether the request leaves the accuracy to the service: no tolerance, no number of steps, no agreement."""
        return self.agreement is None and all(getattr(self, field) is None for field in PRECISION[:-1])

    @property
    def least_agreement(self) -> float:
        """The agreement that a ladder must offer: the requested one, or the one that a default request gets."""
        return SUFFICIENT_AGREEMENT if self.agreement is None else self.agreement

    @property
    def asks_for_agreement(self) -> bool:
        """Whether the request itself asks for an agreement: it names one, or asks to solve doubtful images again."""
        return self.agreement is not None or self.escalate is True

    @property
    def may_escalate(self) -> bool:
        """Whether images with a small margin may be solved again: the request names no settings and allows it."""
        return self.escalate is not False and all(getattr(self, field) is None for field in PRECISION)


@dataclass(frozen=True, eq=False)
class Plan:
    """How a request may be solved. The scheduler chooses a candidate for each image when the image leaves the queue.

    Attributes:
        candidates: from the tightest to the loosest, at least one. The first is the requested one, unless the deadline
            chooses.
        by_deadline: whether the remaining time chooses the candidate.
        may_degrade: whether a busy service may answer more loosely than requested.
        max_nfe: the greatest number of function evaluations for an image.
        seconds: the deadline, in seconds after the arrival of the request.
        requested_rtol: the relative tolerance that the request names, if it names one.
    """

    candidates: tuple[Candidate, ...]
    by_deadline: bool = False
    may_degrade: bool = False
    max_nfe: int | None = None
    seconds: float | None = None
    requested_rtol: float | None = None

    @property
    def expected(self) -> Candidate:
        """The candidate whose cost counts in the queue.

        A deadline chooses a looser candidate when the queue is long, so only the cost of the loosest one is certain.
        """
        return self.candidates[-1 if self.by_deadline else 0]

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
        InvalidError: the model does not have the method or no ladders; a field does not fit the method or another
            field; or the model solves no ODE and the request gives a solver field.
    """
    requested = _requested_settings(fields, artifact)
    seconds = None if fields.deadline_ms is None else fields.deadline_ms / 1e3
    profile = artifact.profile
    if requested is None or profile is None:
        return Plan((Candidate(None),), seconds=seconds)
    _check_escalation(fields, artifact.manifest.name, profile)
    methods = ADAPTIVE if fields.method is None else [fields.method]
    first = Candidate.of_solver(requested, profile)
    may_degrade = fields.open_ended if fields.allow_degraded is None else fields.allow_degraded
    if seconds is not None and fields.open_ended:
        affordable = _affordable(_by_precision(profile, methods, escalate=fields.may_escalate), fields.max_nfe)
        return Plan(affordable or (first,), bool(affordable), may_degrade, fields.max_nfe, seconds)
    if (ladder := _ladder(fields, profile, first)) is not None:
        candidates = [Candidate.of_ladder(ladder, profile)]
        looser = (each for each in reversed(profile.ladders) if each.bound >= floor)
        cheaper = [Candidate.of_ladder(each, profile) for each in looser if each.nfe.mean < ladder.nfe.mean]
    else:
        candidates = [first]
        points = (point for point in profile.candidates(methods, floor) if _is_looser(point.solver, requested))
        cheaper = [Candidate.of_solver(point.solver, profile) for point in points if point.nfe.mean < first.nfe]
    if may_degrade:
        candidates += _affordable(cheaper, fields.max_nfe)
    requested_rtol = fields.tolerance or fields.rtol or fields.atol
    return Plan(tuple(candidates), False, may_degrade, fields.max_nfe, seconds, requested_rtol)


def _ladder(fields: SolverFields, profile: Profile, default: Candidate) -> Ladder | None:
    """Choose the ladder that solves a request. Returns None if solver settings solve the request instead.

    A request that does not ask for an agreement is solved by a ladder only if the ladder is cheaper than the model's
    default settings, and if the request allows one step of each of its solves.
    """
    if not fields.may_escalate or (ladder := profile.ladder_for(fields.least_agreement)) is None:
        return None
    suits = ladder.nfe.mean < default.nfe and _affordable([Candidate.of_ladder(ladder, profile)], fields.max_nfe)
    return ladder if fields.asks_for_agreement or suits else None


def _by_precision(profile: Profile, methods: Collection[str], *, escalate: bool) -> list[Candidate]:
    """The candidates among which a deadline chooses, from the tightest to the loosest.

    They are the ladders that solve an image again, if the request allows it and the model has such ladders; otherwise
    all measured settings. A setting that is tighter than a ladder gives the same digits, and takes the time in which
    later requests must meet their deadlines (docs/measurements.md has the comparison).
    """
    ladders = [Candidate.of_ladder(each, profile) for each in profile.ladders if len(each.rungs) > 1]
    settings = [Candidate.of_solver(point.solver, profile) for point in profile.candidates(methods, 0)]
    return sorted(ladders if escalate and ladders else settings, key=lambda candidate: candidate.nfe, reverse=True)


def _affordable(candidates: Iterable[Candidate], max_nfe: int | None) -> tuple[Candidate, ...]:
    """Select the candidates with enough evaluations in `max_nfe` for at least one step of each of their solves."""
    most = math.inf if max_nfe is None else max_nfe
    return tuple(candidate for candidate in candidates if candidate.least_evaluations <= most)


def _check_escalation(fields: SolverFields, model: str, profile: Profile) -> None:
    """Check that `agreement` and `escalate` fit the model, which has a name and a profile, and the other fields.

    Raises:
        InvalidError: they do not.
    """
    if not fields.asks_for_agreement:
        return
    field = "escalate" if fields.agreement is None else "agreement"
    value = "true" if fields.agreement is None else f"{fields.agreement:g}"
    if others := [name for name in PRECISION if getattr(fields, name) is not None]:
        message = f"does not go with {', '.join(others)}: both say how precisely to solve"
        raise InvalidError(FieldError(field, message, value))
    if fields.escalate is False:
        raise InvalidError(FieldError(field, "does not go with escalate=false, which solves every image once", value))
    if (ladder := profile.ladder_for(fields.least_agreement)) is None:
        message = (
            f"{model} has no measured ladders with an agreement of {fields.least_agreement:g}; "
            "`python -m training ladders` measures them"
        )
        raise InvalidError(FieldError(field, message, value))
    least = Candidate.of_ladder(ladder, profile).least_evaluations
    if fields.max_nfe is not None and fields.max_nfe < least:
        reason = "" if field == "agreement" else "escalate=true asks for the default agreement, and "
        message = f"{reason}an agreement of {fields.least_agreement:g} takes at least {least} evaluations"
        raise InvalidError(FieldError("max_nfe", message, str(fields.max_nfe)))


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
    by_settings = not fields.asks_for_agreement  # otherwise `_check_escalation` checks the limit
    if by_settings and fields.max_nfe is not None and fields.max_nfe < least:
        choice = "" if fields.method else ", which the service chose because the request names no method,"
        message = f"a step of {solver.method}{choice} takes at least {least} evaluations"
        raise InvalidError(FieldError("max_nfe", message, str(fields.max_nfe)))
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
    message = f"{name} solves no ODE; of the fields that say how to solve, it accepts only {' and '.join(WITHOUT_ODE)}"
    given = fields.model_dump(exclude=set(WITHOUT_ODE), exclude_none=True)
    if given:
        raise InvalidError(*(FieldError(field, message, as_sent(value)) for field, value in given.items()))


def _adaptive(fields: SolverFields, default: SolverSettings) -> SolverSettings:
    if fields.steps is not None:
        fixed = ", ".join(FIXED)
        if fields.method is None:
            message = f"needs a method with a fixed number of steps, which accepts no tolerance; name one of {fixed}"
        else:
            message = f"{fields.method} is adaptive and chooses its own steps; only {fixed} accept steps"
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
