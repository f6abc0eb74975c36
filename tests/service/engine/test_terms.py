"""On what terms a request is solved."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.solvers.methods import METHODS
from models.solvers.settings import LARGEST_TOLERANCE, SMALLEST_TOLERANCE
from service.engine.policy import ADAPTIVE, FIXED, SolverFields, resolve
from service.engine.terms import Rung, Terms, settle
from service.errors import InvalidError
from service.registry import ServedModel
from tests.service.engine.driving import served, tolerances

SERVED = served("odenet-mnist")
EXPLICIT = [{"tolerance": 1e-4}, {"rtol": 1e-4}, {"atol": 1e-4}, {"method": "rk4", "steps": 4}]


def terms_of(model: ServedModel, floor: float = 0.99, **fields: Any) -> Terms:
    return settle(SolverFields(**fields), model, floor)


def assert_a_ladder(rungs: tuple[Rung, ...]) -> None:
    """From the tightest to the loosest, each cheaper than the one before."""
    nfe, rtol = [rung.nfe for rung in rungs], tolerances(rungs)
    assert nfe == sorted(set(nfe), reverse=True)
    assert rtol == sorted(set(rtol))


# What is asked comes first.


@pytest.mark.parametrize("fields", [{}, *EXPLICIT, {"method": "dopri5"}], ids=str)
def test_the_first_setting_is_the_one_that_is_asked(model: ServedModel, fields: dict[str, Any]) -> None:
    asked = resolve(SolverFields(**fields), model)
    for allow_degraded in (None, True, False):
        assert terms_of(model, allow_degraded=allow_degraded, **fields).rungs[0].solver == asked


@pytest.mark.parametrize("fields", EXPLICIT, ids=str)
def test_an_explicit_setting_is_the_only_one_unless_looser_ones_are_allowed(
    model: ServedModel, fields: dict[str, Any]
) -> None:
    for more in ({}, {"allow_degraded": False}, {"deadline_ms": 5}):
        assert len(terms_of(model, **fields, **more).rungs) == 1
    allowed = terms_of(model, allow_degraded=True, **fields)
    assert len(allowed.rungs) > 1
    assert not allowed.by_deadline
    assert_a_ladder(allowed.rungs)


def test_an_open_request_allows_looser_ones_unless_it_says_otherwise(model: ServedModel) -> None:
    assert len(terms_of(model, method="dopri5").rungs) > 1
    assert len(terms_of(model, method="dopri5", allow_degraded=False).rungs) == 1


def test_apart_from_rtol_and_atol_looser_is_looser_than_both(model: ServedModel) -> None:
    rungs = terms_of(model, rtol=1e-1, atol=1e-5, allow_degraded=True).rungs
    assert all(tolerance > 1e-1 for tolerance in tolerances(rungs[1:]))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_is_named_is_the_only_one(model: ServedModel, method: str) -> None:
    for more in ({}, {"deadline_ms": 5}, {"allow_degraded": True}):
        rungs = terms_of(model, method=method, **more).rungs
        assert {rung.method for rung in rungs} == {method}
        assert_a_ladder(rungs)


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
def test_whatever_is_asked_the_settings_are_a_ladder_within_the_limits(
    fields: dict[str, Any], deadline_ms: float | None, max_nfe: int | None, floor: float
) -> None:
    profile = SERVED.artifact.profile
    assert profile is not None
    terms = terms_of(SERVED, floor, deadline_ms=deadline_ms, max_nfe=max_nfe, allow_degraded=True, **fields)
    assert terms.max_nfe == max_nfe
    assert terms.seconds == (None if deadline_ms is None else deadline_ms / 1e3)
    assert_a_ladder(terms.rungs[1:])
    for rung in terms.rungs:
        assert rung.solver is not None
        assert max_nfe is None or METHODS[rung.solver.method].least_evaluations <= max_nfe
        assert rung.nfe <= terms.rungs[0].nfe
    if not terms.by_deadline:
        for rung in terms.rungs[1:]:
            assert rung.solver is not None
            assert profile.nearest(rung.solver).agreement >= floor


# A deadline without a tolerance buys one.


def test_a_deadline_alone_leaves_the_tolerance_to_the_time_that_is_left(model: ServedModel) -> None:
    terms = terms_of(model, deadline_ms=1500)
    assert terms.by_deadline
    assert terms.seconds == 1.5
    assert_a_ladder(terms.rungs)
    assert min(tolerances(terms.rungs)) == 1e-6


def test_a_deadline_is_under_no_floor(model: ServedModel) -> None:
    assert terms_of(model, floor=1.0, deadline_ms=5).rungs == terms_of(model, floor=0.0, deadline_ms=5).rungs


# A limit of evaluations.


@pytest.mark.parametrize("method", METHODS)
def test_fewer_evaluations_than_one_step_takes_are_refused_by_name(model: ServedModel, method: str) -> None:
    least = METHODS[method].least_evaluations
    for more in ({}, {"deadline_ms": 5}):
        assert terms_of(model, method=method, max_nfe=least, **more).max_nfe == least
        if least > 1:
            with pytest.raises(InvalidError, match=f"{method} takes {least} evaluations at least") as refused:
                terms_of(model, method=method, max_nfe=least - 1, **more)
            assert [(error.field, error.value) for error in refused.value.errors] == [("max_nfe", str(least - 1))]


def test_no_setting_is_bought_of_which_one_step_is_beyond_the_limit(model: ServedModel) -> None:
    bought = terms_of(model, deadline_ms=5, max_nfe=6)
    assert bought.by_deadline
    assert {rung.method for rung in bought.rungs} <= {m for m in METHODS if METHODS[m].least_evaluations <= 6}


# Models without an ODE.


def test_a_model_without_an_ode_has_one_way_to_answer(mlp: ServedModel) -> None:
    for fields in ({}, {"allow_degraded": True}, {"allow_degraded": False}, {"deadline_ms": 20}):
        terms = terms_of(mlp, **fields)
        assert terms.rungs == (Rung(None),)
        assert not terms.by_deadline
        assert terms.seconds == (0.02 if "deadline_ms" in fields else None)


def test_a_model_without_an_ode_has_no_evaluations_to_limit(mlp: ServedModel) -> None:
    with pytest.raises(InvalidError, match="mlp solves no ODE") as refused:
        terms_of(mlp, max_nfe=100)
    assert [(error.field, error.value) for error in refused.value.errors] == [("max_nfe", "100")]
