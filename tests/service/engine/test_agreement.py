"""The fields `agreement` and `escalate`, and the ladders that a request gets."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.profile import SUFFICIENT_AGREEMENT, Ladder, Profile
from models.solvers.methods import METHODS
from service.engine.candidate import Candidate
from service.engine.model import ServedModel
from service.engine.plan import Plan, SolverFields
from service.errors import InvalidError
from tests.service.engine.driving import served

MODEL = served("odenet-mnist")


def profile_of(model: ServedModel) -> Profile:
    assert model.artifact.profile is not None
    return model.artifact.profile


def plan_of(model: ServedModel, **fields: Any) -> Plan:
    return model.plan(SolverFields(**fields), 0.99)


def ladder_of(candidate: Candidate) -> list[Any]:
    """The settings of a candidate and of the tighter ones after it."""
    return [candidate.solver, *([] if candidate.tighter is None else ladder_of(candidate.tighter))]


def settings_of(ladder: Ladder | None) -> list[Any]:
    assert ladder is not None
    return [rung.solver for rung in ladder.rungs]


def with_ladders(model: ServedModel, ladders: list[Ladder]) -> ServedModel:
    """The model with other ladders in its profile."""
    profile = profile_of(model).model_copy(update={"ladders": ladders})
    return replace(model, artifact=replace(model.artifact, profile=profile))


@given(agreement=st.floats(0, 1))
def test_an_agreement_gets_the_cheapest_ladder_with_the_bound(agreement: float) -> None:
    (candidate,) = plan_of(MODEL, agreement=agreement).candidates
    sufficient = [ladder for ladder in profile_of(MODEL).ladders if ladder.bound >= agreement]
    cheapest = min(sufficient, key=lambda ladder: ladder.nfe.mean)
    assert ladder_of(candidate) == settings_of(cheapest)
    assert (candidate.nfe, candidate.nfe_p90) == (cheapest.nfe.mean, cheapest.nfe.p90)


def test_an_agreement_of_one_solves_every_image_by_the_reference() -> None:
    (candidate,) = plan_of(MODEL, agreement=1).candidates
    assert ladder_of(candidate) == [profile_of(MODEL).reference]


@pytest.mark.parametrize("fields", [{}, {"escalate": True}, {"escalate": True, "deadline_ms": 60_000}], ids=str)
def test_a_request_that_says_nothing_gets_the_sufficient_agreement(fields: dict[str, Any]) -> None:
    candidates = plan_of(MODEL, **fields).candidates
    expected = settings_of(profile_of(MODEL).ladder_for(SUFFICIENT_AGREEMENT))
    assert len(expected) == 2
    assert expected in [ladder_of(candidate) for candidate in candidates]
    if "deadline_ms" not in fields:
        assert ladder_of(candidates[0]) == expected


def test_without_a_cheaper_ladder_the_default_settings_solve_every_image(model: ServedModel) -> None:
    *_, reference = profile_of(model).ladders
    for ladders in ([], [reference]):
        (candidate, *_) = plan_of(with_ladders(model, ladders)).candidates
        assert ladder_of(candidate) == [model.artifact.manifest.default_solver]


def refused(model: ServedModel, **fields: Any) -> tuple[str, str, str | None]:
    """The field, the message and the value of the only error."""
    with pytest.raises(InvalidError) as refusal:
        plan_of(model, **fields)
    (error,) = refusal.value.errors
    return error.field, error.message, error.value


@pytest.mark.parametrize(
    "other", [{"tolerance": 0.1}, {"rtol": 0.1}, {"atol": 0.1}, {"method": "rk4", "steps": 2}, {"method": "dopri5"}]
)
def test_an_agreement_does_not_go_with_settings(model: ServedModel, other: dict[str, Any]) -> None:
    field, message, value = refused(model, agreement=0.999, **other)
    assert (field, value) == ("agreement", "0.999")
    assert all(name in message for name in other)
    field, message, value = refused(model, escalate=True, **other)
    assert (field, value) == ("escalate", "true")
    assert all(name in message for name in other)


def test_an_agreement_does_not_go_without_escalation(model: ServedModel) -> None:
    field, message, value = refused(model, agreement=0.999, escalate=False)
    assert (field, value) == ("agreement", "0.999")
    assert "escalate=false" in message


@pytest.mark.parametrize(("fields", "value"), [({"agreement": 0.9}, "0.9"), ({"escalate": True}, "true")])
def test_a_model_without_ladders_refuses_an_agreement(model: ServedModel, fields: dict[str, Any], value: str) -> None:
    field, message, given = refused(with_ladders(model, []), **fields)
    assert (field, given) == (*fields, value)
    assert "odenet-mnist has no measured ladders" in message


def test_an_agreement_above_that_of_every_ladder_is_refused(model: ServedModel) -> None:
    field, message, value = refused(with_ladders(model, profile_of(model).ladders[:1]), agreement=0.999)
    assert (field, value) == ("agreement", "0.999")
    assert "no measured ladders with an agreement of 0.999" in message


@pytest.mark.parametrize("fields", [{"agreement": 0.999}, {"escalate": True}], ids=str)
def test_a_limit_below_one_step_of_each_solve_is_refused(model: ServedModel, fields: dict[str, Any]) -> None:
    least = plan_of(model, **fields).candidates[0].least_evaluations
    assert plan_of(model, max_nfe=least, **fields).max_nfe == least
    field, message, value = refused(model, max_nfe=least - 1, **fields)
    assert (field, value) == ("max_nfe", str(least - 1))
    assert f"an agreement of 0.999 takes at least {least} evaluations" in message


@pytest.mark.parametrize("max_nfe", [1, 2, 4, 5])
@pytest.mark.parametrize("more", [{}, {"deadline_ms": 60_000}], ids=str)
def test_a_limit_below_one_step_of_each_solve_is_refused_with_the_limit_of_all_solves(
    model: ServedModel, max_nfe: int, more: dict[str, Any]
) -> None:
    field, message, value = refused(model, escalate=True, max_nfe=max_nfe, **more)
    assert (field, value) == ("max_nfe", str(max_nfe))
    assert (
        message
        == "escalate=true asks for the default agreement, and an agreement of 0.999 takes at least 6 evaluations"
    )


@pytest.mark.parametrize("more", [{}, {"deadline_ms": 60_000}], ids=str)
def test_a_limit_below_one_step_of_each_solve_leaves_one_solve_by_the_default_settings(
    model: ServedModel, more: dict[str, Any]
) -> None:
    default = model.artifact.manifest.default_solver
    for max_nfe in (4, 5):
        assert ladder_of(plan_of(model, max_nfe=max_nfe, **more).candidates[0]) == [default]
    assert len(ladder_of(plan_of(model, max_nfe=6, **more).candidates[0])) == 2


def test_a_limit_that_suffices_for_the_ladder_need_not_suffice_for_the_default_settings() -> None:
    model = served("rknet")
    default = model.artifact.manifest.default_solver
    assert default is not None
    (candidate,) = plan_of(model, agreement=0.99, max_nfe=2).candidates
    assert candidate.least_evaluations == 2 < METHODS[default.method].least_evaluations


def test_a_deadline_does_not_change_an_agreement(model: ServedModel) -> None:
    plan = plan_of(model, agreement=0.999, deadline_ms=5)
    assert not plan.by_deadline
    assert [ladder_of(each) for each in plan.candidates] == [settings_of(profile_of(model).ladder_for(0.999))]


def test_a_deadline_without_escalation_chooses_among_settings(model: ServedModel) -> None:
    plan = plan_of(model, escalate=False, deadline_ms=5)
    assert plan.by_deadline
    assert not any(candidate.tighter for candidate in plan.candidates)
