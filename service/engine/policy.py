"""From the solver fields of a request to the settings of its solve."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings, Steps, Tolerance
from service.errors import FieldError, InvalidError, shortened
from service.registry import ServedModel

LARGEST_NFE = 10_000
"""What the most attempts of the method of the most stages come to, and more."""

MOST_TRACED = 16
"""Images of a request whose solves are told step by step. Each may take `models.solvers.solve.MAX_STEPS` attempts, of
which a third of a megabyte of JSON is made."""

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]


class SolverFields(BaseModel):
    """What a request may say of its solve; all of it may be left out, and must be for a model without an ODE."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: Annotated[
        str | None,
        Field(
            description=f"Adaptive: {', '.join(ADAPTIVE)}. With a fixed number of steps: {', '.join(FIXED)}. "
            "Default: with a tolerance, that of the fewest evaluations at it; without, the model's.",
            json_schema_extra={"enum": [*ADAPTIVE, *FIXED]},
        ),
    ] = None
    tolerance: Annotated[
        Tolerance | None,
        Field(description="Sets both rtol and atol of an adaptive method: tight is accurate, loose is fast."),
    ] = None
    rtol: Annotated[Tolerance | None, Field(description="Relative tolerance; alone it sets atol too.")] = None
    atol: Annotated[Tolerance | None, Field(description="Absolute tolerance; alone it sets rtol too.")] = None
    steps: Annotated[Steps | None, Field(description="The number of equal steps of a fixed-step method.")] = None
    max_nfe: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST_NFE,
            description="The most evaluations of f for an image. Where they are about to be spent, the last step goes "
            "all the way to t = 1, and the outcome is max_nfe.",
        ),
    ] = None
    deadline_ms: Annotated[
        float | None,
        Field(
            ge=1,
            le=600_000,
            allow_inf_nan=False,
            description="Milliseconds within which to answer. Without a tolerance it buys one: the tightest that is "
            "expected to fit. Where it is about to be missed, the last step goes all the way to t = 1, and the "
            "outcome is deadline; where even that is too late, the answer is 504.",
        ),
    ] = None
    allow_degraded: Annotated[
        bool | None,
        Field(
            description="Whether a busy service may solve more loosely than is asked. Default: where neither a "
            "tolerance nor a number of steps is asked."
        ),
    ] = None


def resolve(fields: SolverFields, model: ServedModel) -> SolverSettings | None:
    """The settings that the fields ask for; what they leave open is as the model's measured profile has it.

    Returns:
        None for a model without an ODE.

    Raises:
        InvalidError: the model has no such method, or a field does not go with the method or with another field; or
            the model solves no ODE, and takes none of the fields.
    """
    manifest, profile = model.artifact.manifest, model.artifact.profile
    default = manifest.default_solver
    if default is None or profile is None:
        _refuse_all(fields, model)
        return None
    tolerances = [value for value in (fields.tolerance, fields.rtol, fields.atol) if value is not None]
    if fields.method is None and tolerances:
        default = SolverSettings.adaptive(profile.method_for(min(tolerances)), min(tolerances))
    elif fields.method not in {None, default.method}:
        default = profile.cheapest([_known(fields.method, model)])
    solver = _adaptive(fields, default) if METHODS[default.method].adaptive else _fixed(fields, default)
    least = METHODS[solver.method].least_evaluations
    if fields.max_nfe is not None and fields.max_nfe < least:
        message = f"{solver.method} takes {least} evaluations at least"
        raise InvalidError(FieldError(field="max_nfe", message=message, value=str(fields.max_nfe)))
    return solver


def _known(method: str | None, model: ServedModel) -> str:
    """A method that the model has."""
    methods = model.artifact.manifest.methods
    if method not in methods:
        message = f"no such method; {model.name} has {', '.join(methods)}"
        raise InvalidError(FieldError(field="method", message=message, value=shortened(str(method))))
    return method


def _refuse_all(fields: SolverFields, model: ServedModel) -> None:
    """Refuse what only a model with an ODE can take."""
    message = f"{model.name} solves no ODE; it takes no solver fields"
    given = fields.model_dump(exclude={"deadline_ms", "allow_degraded"}, exclude_none=True)
    if given:
        raise InvalidError(*(FieldError(field, message, str(value)) for field, value in given.items()))


def _adaptive(fields: SolverFields, default: SolverSettings) -> SolverSettings:
    if fields.steps is not None:
        message = f"{default.method} is adaptive and chooses its steps; steps goes with {', '.join(FIXED)}"
        raise InvalidError(FieldError(field="steps", message=message, value=str(fields.steps)))
    if fields.tolerance is not None:
        for field in ("rtol", "atol"):
            if (value := getattr(fields, field)) is not None:
                message = "tolerance sets both rtol and atol; give it or them"
                raise InvalidError(FieldError(field=field, message=message, value=f"{value:g}"))
        return SolverSettings.adaptive(default.method, fields.tolerance)
    return SolverSettings(
        method=default.method,
        rtol=fields.rtol or fields.atol or default.rtol,
        atol=fields.atol or fields.rtol or default.atol,
    )


def _fixed(fields: SolverFields, default: SolverSettings) -> SolverSettings:
    for field in ("tolerance", "rtol", "atol"):
        if (value := getattr(fields, field)) is not None:
            message = f"{default.method} takes a fixed number of steps; a tolerance goes with {', '.join(ADAPTIVE)}"
            raise InvalidError(FieldError(field=field, message=message, value=f"{value:g}"))
    return SolverSettings(method=default.method, steps=default.steps if fields.steps is None else fields.steps)
