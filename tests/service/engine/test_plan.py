"""The plan for a request: the candidates and the limits."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.profile import Profile
from models.solvers.methods import METHODS
from models.solvers.settings import LARGEST_TOLERANCE, SMALLEST_TOLERANCE, SolverSettings
from service.engine.candidate import Candidate
from service.engine.model import ServedModel
from service.engine.plan import ADAPTIVE, FIXED, Plan, SolverFields
from service.errors import InvalidError
from tests.service.engine.driving import served, tolerances

SERVED = served("odenet-mnist")
EXPLICIT = [{"tolerance": 1e-4}, {"rtol": 1e-4}, {"atol": 1e-4}, {"method": "rk4", "steps": 4}]


def plan_of(model: ServedModel, floor: float = 0.99, **fields: Any) -> Plan:
    return model.plan(SolverFields(**fields), floor)


def assert_loosening(candidates: tuple[Candidate, ...]) -> None:
    """Check that the candidates go from the tightest to the loosest, each cheaper than the one before."""
    nfe, rtol = [candidate.nfe for candidate in candidates], tolerances(candidates)
    assert nfe == sorted(set(nfe), reverse=True)
    assert rtol == sorted(set(rtol))


# The requested settings come first.


def requested(profile: Profile, fields: dict[str, Any]) -> SolverSettings:
    """The settings that the fields describe."""
    match fields:
        case {"steps": steps}:
            return SolverSettings(method="rk4", steps=steps)
        case {"method": method}:
            return profile.cheapest([method])
        case {"tolerance": value} | {"rtol": value} | {"atol": value}:
            return SolverSettings(method=profile.method_for(value), rtol=value, atol=value)
        case _:
            return SERVED.artifact.manifest.default_solver or profile.cheapest(ADAPTIVE)


@pytest.mark.parametrize("fields", [{"escalate": False}, *EXPLICIT, {"method": "dopri5"}], ids=str)
def test_the_first_candidate_has_the_requested_settings(model: ServedModel, fields: dict[str, Any]) -> None:
    assert model.artifact.profile is not None
    expected = requested(model.artifact.profile, fields)
    for allow_degraded in (None, True, False):
        assert plan_of(model, allow_degraded=allow_degraded, **fields).candidates[0].solver == expected


@pytest.mark.parametrize("fields", EXPLICIT, ids=str)
def test_explicit_settings_are_the_only_candidate_unless_degradation_is_allowed(
    model: ServedModel, fields: dict[str, Any]
) -> None:
    for more in ({}, {"allow_degraded": False}, {"deadline_ms": 5}):
        assert len(plan_of(model, **fields, **more).candidates) == 1
    allowed = plan_of(model, allow_degraded=True, **fields)
    assert len(allowed.candidates) > 1
    assert not allowed.by_deadline
    assert_loosening(allowed.candidates)


def test_an_open_ended_request_allows_degradation_by_default(model: ServedModel) -> None:
    assert len(plan_of(model, method="heun2").candidates) > 1
    assert len(plan_of(model, method="heun2", allow_degraded=False).candidates) == 1


def test_looser_candidates_are_looser_than_both_rtol_and_atol(model: ServedModel) -> None:
    candidates = plan_of(model, rtol=1e-1, atol=1e-5, allow_degraded=True).candidates
    assert all(tolerance > 1e-1 for tolerance in tolerances(candidates[1:]))


@pytest.mark.parametrize("method", METHODS)
def test_a_named_method_is_the_method_of_all_candidates(model: ServedModel, method: str) -> None:
    for more in ({}, {"deadline_ms": 5}, {"allow_degraded": True}):
        candidates = plan_of(model, method=method, **more).candidates
        assert {candidate.method for candidate in candidates} == {method}
        assert_loosening(candidates)


tolerance = st.floats(SMALLEST_TOLERANCE, LARGEST_TOLERANCE)


@given(
    fields=st.one_of(
        st.fixed_dictionaries({}, optional={"method": st.sampled_from(ADAPTIVE), "rtol": tolerance, "atol": tolerance}),
        st.fixed_dictionaries({"method": st.sampled_from(FIXED)}, optional={"steps": st.integers(1, 100)}),
    ),
    deadline_ms=st.none() | st.floats(1, 600_000),
    max_nfe=st.none() | st.integers(7, 10_000),
    floor=st.floats(0, 1),
)
def test_the_candidates_of_any_request_loosen_within_the_limits(
    fields: dict[str, Any], deadline_ms: float | None, max_nfe: int | None, floor: float
) -> None:
    profile = SERVED.artifact.profile
    assert profile is not None
    plan = plan_of(SERVED, floor, deadline_ms=deadline_ms, max_nfe=max_nfe, allow_degraded=True, **fields)
    assert plan.max_nfe == max_nfe
    assert plan.seconds == (None if deadline_ms is None else deadline_ms / 1e3)
    assert_loosening(plan.candidates[1:])
    for candidate in plan.candidates:
        assert candidate.solver is not None
        assert max_nfe is None or METHODS[candidate.solver.method].least_evaluations <= max_nfe
        assert candidate.nfe <= plan.candidates[0].nfe
    if not plan.by_deadline:
        for candidate in plan.candidates[1:]:
            assert candidate.solver is not None
            assert profile.nearest(candidate.solver).agreement >= floor


# A deadline without a tolerance chooses one.


def test_a_deadline_alone_chooses_among_the_ladders(model: ServedModel) -> None:
    plan = plan_of(model, deadline_ms=1500)
    assert plan.by_deadline
    assert all(candidate.tighter for candidate in plan.candidates)


def test_a_deadline_without_a_second_solve_leaves_the_tolerance_to_the_time_left(model: ServedModel) -> None:
    plan = plan_of(model, deadline_ms=1500, escalate=False)
    assert plan.by_deadline
    assert plan.seconds == 1.5
    assert_loosening(plan.candidates)
    assert min(tolerances(plan.candidates)) == 1e-6


def test_the_floor_does_not_limit_a_deadline(model: ServedModel) -> None:
    assert plan_of(model, floor=1.0, deadline_ms=5).candidates == plan_of(model, floor=0.0, deadline_ms=5).candidates


# A limit on the evaluations.


@pytest.mark.parametrize("method", METHODS)
def test_a_limit_below_one_step_is_refused_by_name(model: ServedModel, method: str) -> None:
    least = METHODS[method].least_evaluations
    for more in ({}, {"deadline_ms": 5}):
        assert plan_of(model, method=method, max_nfe=least, **more).max_nfe == least
        if least > 1:
            with pytest.raises(InvalidError, match=f"a step of {method} takes at least {least} evaluations") as refused:
                plan_of(model, method=method, max_nfe=least - 1, **more)
            assert [(error.field, error.value) for error in refused.value.errors] == [("max_nfe", str(least - 1))]


@pytest.mark.parametrize("fields", [{}, {"escalate": False}, {"tolerance": 0.1}], ids=str)
def test_a_limit_below_one_step_of_a_method_that_the_caller_did_not_choose_is_refused(
    model: ServedModel, fields: dict[str, Any]
) -> None:
    message = (
        "a step of bosh3, which the service chose because the request names no method, takes at least 4 evaluations"
    )
    with pytest.raises(InvalidError, match=message) as refused:
        plan_of(model, max_nfe=3, **fields)
    assert [(error.field, error.value) for error in refused.value.errors] == [("max_nfe", "3")]


def test_no_candidate_needs_more_than_the_limit_for_one_step(model: ServedModel) -> None:
    plan = plan_of(model, deadline_ms=5, max_nfe=6)
    assert plan.by_deadline
    assert {candidate.method for candidate in plan.candidates} <= {
        m for m in METHODS if METHODS[m].least_evaluations <= 6
    }


# Models without an ODE.


def test_a_model_without_an_ode_has_one_candidate(mlp: ServedModel) -> None:
    for fields in ({}, {"allow_degraded": True}, {"allow_degraded": False}, {"deadline_ms": 20}):
        plan = plan_of(mlp, **fields)
        assert plan.candidates == (Candidate(None),)
        assert not plan.by_deadline
        assert plan.seconds == (0.02 if "deadline_ms" in fields else None)


def test_a_model_without_an_ode_refuses_a_limit(mlp: ServedModel) -> None:
    with pytest.raises(InvalidError, match="mlp solves no ODE") as refused:
        plan_of(mlp, max_nfe=100)
    assert [(error.field, error.value) for error in refused.value.errors] == [("max_nfe", "100")]
