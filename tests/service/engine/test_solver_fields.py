"""The solver fields of a request and the profile of the model determine the requested settings."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.profile import SUFFICIENT_AGREEMENT
from models.solvers.methods import METHODS
from models.solvers.settings import LARGEST_TOLERANCE, MOST_STEPS, SMALLEST_TOLERANCE, SolverSettings
from service.engine.model import ServedModel
from service.engine.plan import ADAPTIVE, FIXED, SolverFields
from service.errors import InvalidError
from tests.service.engine.driving import served

MODEL = served("odenet-mnist")


def requested(model: ServedModel, **fields: Any) -> SolverSettings | None:
    """The solver settings that the fields ask for."""
    return model.plan(SolverFields(**fields), 0.99).candidates[0].solver


def test_without_escalation_the_default_settings_are_requested(model: ServedModel) -> None:
    assert requested(model, escalate=False) == model.artifact.manifest.default_solver


@pytest.mark.parametrize("method", METHODS)
def test_a_method_alone_gets_its_cheapest_settings_that_agree_with_the_reference(
    model: ServedModel, method: str
) -> None:
    chosen = requested(model, method=method)
    assert model.artifact.profile is not None
    points = {point.solver: point for point in model.artifact.profile.points if point.solver.method == method}
    agreeing = [p.nfe.mean for p in points.values() if p.agreement >= SUFFICIENT_AGREEMENT]
    assert chosen is not None
    if agreeing:
        assert points[chosen].agreement >= SUFFICIENT_AGREEMENT
        assert points[chosen].nfe.mean == min(agreeing)
    else:
        assert points[chosen].agreement == max(p.agreement for p in points.values())


def test_a_model_without_an_ode_has_no_settings(mlp: ServedModel) -> None:
    assert requested(mlp) is None
    assert requested(mlp, deadline_ms=5, allow_degraded=True) is None


@pytest.mark.parametrize(
    "field", [{"method": "dopri5"}, {"tolerance": 0.1}, {"rtol": 0.1}, {"atol": 0.1}, {"steps": 1}]
)
def test_a_model_without_an_ode_refuses_every_solver_field_by_name(mlp: ServedModel, field: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match="mlp solves no ODE") as refused:
        requested(mlp, **field)
    assert [error.field for error in refused.value.errors] == list(field)
    assert [error.value for error in refused.value.errors] == [str(value) for value in field.values()]


def test_steps_without_a_method_are_refused_with_the_methods_that_accept_steps(model: ServedModel) -> None:
    for more in ({}, {"tolerance": 0.1}):
        with pytest.raises(InvalidError, match="needs a method with a fixed number of steps") as refused:
            requested(model, steps=3, **more)
        (error,) = refused.value.errors
        assert (error.field, error.value) == ("steps", "3")
        assert error.message.endswith("which accepts no tolerance; name one of euler, midpoint, rk4")


def test_steps_of_an_adaptive_method_are_refused_by_its_name(model: ServedModel) -> None:
    with pytest.raises(InvalidError, match="tsit5 is adaptive"):
        requested(model, method="tsit5", steps=3)


tolerances = st.floats(SMALLEST_TOLERANCE, LARGEST_TOLERANCE)


@given(
    fields=st.fixed_dictionaries(
        {},
        optional={
            "method": st.sampled_from([*ADAPTIVE, *FIXED]),
            "tolerance": tolerances,
            "rtol": tolerances,
            "atol": tolerances,
            "steps": st.integers(1, MOST_STEPS),
        },
    )
)
def test_every_field_is_obeyed_or_refused_by_name(fields: dict[str, Any]) -> None:
    try:
        settings = requested(MODEL, **fields)
    except InvalidError as error:
        assert {wrong.field for wrong in error.errors} <= fields.keys()  # noqa: PT017 (either way is right)
        return
    assert settings is not None
    assert settings.method == fields.get("method", settings.method)
    assert settings.steps == fields.get("steps", settings.steps)
    for field in ("rtol", "atol"):
        assert getattr(settings, field) == fields.get(field, fields.get("tolerance", getattr(settings, field)))
