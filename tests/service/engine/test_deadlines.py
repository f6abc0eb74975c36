"""A request says by when: the time that is left buys a tolerance, cuts a solve short, or ends it."""

from typing import Any

import pytest

from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.engine.plan import Candidate
from service.engine.request import End, EngineRequest
from service.engine.scheduler import RESERVE, SAFETY, Deadlines
from tests.service.engine.driving import Driver, assert_answered_as_alone, served, tolerances


def cost(request: EngineRequest, candidate: Candidate) -> float:
    """Seconds within which all images of a request that has the engine to itself should be answered by a setting."""
    return RESERVE + SAFETY * request.model.costs.answer(len(request.images), candidate.nfe_p90)


# What cannot be answered in time is given up.


def test_what_is_late_before_it_is_begun_is_given_up_unbegun(driver: Driver) -> None:
    request = driver.ask(range(20), tolerance=1e-3, deadline_ms=50)
    driver.clock.now += 0.051
    driver.run()
    assert request.end is End.expired
    assert driver.ended == [request]
    assert driver.evaluations == 0


def test_what_is_late_in_flight_is_given_up_at_once(driver: Driver) -> None:
    request = driver.ask(range(20), method="dopri5", tolerance=1e-6, deadline_ms=50)
    driver.turn(3)
    spent = driver.evaluations
    assert spent
    driver.clock.now += 0.051
    driver.run()
    assert request.end is End.expired
    assert driver.evaluations == spent


def test_who_has_no_deadline_or_a_later_one_goes_on(driver: Driver) -> None:
    requests = [driver.ask(range(4), tolerance=1e-5, **fields) for fields in ({}, {"deadline_ms": 60_000})]
    late = driver.ask(range(4), tolerance=1e-5, deadline_ms=50)
    driver.turn(3)
    driver.clock.now += 0.051
    driver.run()
    assert late.end is End.expired
    for request in requests:
        assert_answered_as_alone(request)


def test_a_model_without_an_ode_has_deadlines_too(driver: Driver, mlp: ServedModel) -> None:
    answered = driver.ask([0], model=mlp, deadline_ms=50)
    driver.turn()
    late = driver.ask([0], model=mlp, deadline_ms=50)
    driver.clock.now += 0.051
    driver.run()
    assert_answered_as_alone(answered)
    assert late.end is End.expired


# Where it is about to pass, the last step goes all the way.


@pytest.mark.parametrize("asked", [{"method": "dopri5", "tolerance": 1e-6}, {"method": "rk4", "steps": 100}])
def test_a_solve_that_is_about_to_be_late_is_cut_short(model: ServedModel, asked: dict[str, Any]) -> None:
    driver = Driver(model, pace=1e-3)
    request = driver.ask([0], deadline_ms=8, **asked)
    driver.run()
    assert request.end is End.answered
    assert request.answer.outcome[0] == Outcome.deadline
    assert 1 < request.answer.steps[0] < 10
    assert driver.clock.now < request.arrived_at + 8e-3


def test_only_those_that_would_be_late_are_cut_short(model: ServedModel) -> None:
    driver = Driver(model, pace=1e-3)
    free = driver.ask([0], method="heun2", tolerance=1e-4)
    hurried = driver.ask([1], method="heun2", tolerance=1e-4, deadline_ms=8)
    driver.run()
    assert hurried.answer.outcome[0] == Outcome.deadline
    assert_answered_as_alone(free)


# It buys a tolerance.


def test_the_tightest_setting_that_fits_is_bought() -> None:
    slow = served("odenet-mnist")
    slow.costs.correction = 10.0
    asked = Driver(slow).job([0], deadline_ms=1)
    costs = [(candidate, cost(asked, candidate)) for candidate in asked.plan.candidates]
    assert len(costs) > 4
    for candidate, seconds in costs:
        driver = Driver(served("odenet-mnist"))
        driver.model.costs.correction = 10.0
        request = driver.ask([0], deadline_ms=1.001e3 * seconds)
        assert request.plan.by_deadline
        driver.turn()
        assert request.chosen[0] == candidate
        driver.run()
        assert request.end is End.answered


def test_more_time_never_buys_a_looser_one(model: ServedModel) -> None:
    bought = []
    for milliseconds in (1, 1.5, 2, 4, 8, 16, 1000):
        driver = Driver(model)
        request = driver.ask([0], deadline_ms=milliseconds)
        driver.turn()
        bought += tolerances(request.chosen)
    assert bought == sorted(bought, reverse=True)
    assert bought[0] > bought[-1]


def test_many_images_share_the_time(model: ServedModel) -> None:
    one, many = Driver(model), Driver(model)
    alone, together = one.ask([0], deadline_ms=8), many.ask(range(50), deadline_ms=8)
    one.turn()
    many.turn()
    assert tolerances(alone.chosen)[0] < tolerances(together.chosen)[0]


def test_where_nothing_fits_the_loosest_is_tried(driver: Driver) -> None:
    request = driver.ask(range(500), deadline_ms=1)
    driver.turn()
    assert request.chosen[0] == request.plan.candidates[-1]


def test_time_that_was_spent_waiting_is_not_spent_again(driver: Driver) -> None:
    fields: dict[str, Any] = {"deadline_ms": 20}
    early, late = driver.job([0], **fields), driver.job([0], **fields)
    left = cost(late, late.plan.candidates[3]) * 1.001
    for request, passed in ((early, 0.0), (late, 20e-3 - left)):
        fresh = Driver(driver.model)
        fresh.clock.now = request.arrived_at + passed
        fresh.admission.enter(1, request.priority)
        fresh.scheduler.submit(request)
        fresh.turn()
    assert late.chosen[0] == late.plan.candidates[3]
    assert tolerances(early.chosen)[0] < tolerances(late.chosen)[0]


def test_an_explicit_tolerance_is_kept_whatever_the_deadline(driver: Driver) -> None:
    request = driver.ask([0, 1], tolerance=1e-4, deadline_ms=1)
    driver.turn()
    assert tolerances(request.chosen) == [1e-4, 1e-4]


def test_a_method_that_is_named_is_kept_and_its_steps_are_bought(driver: Driver) -> None:
    for method in ("rk4", "bosh3"):
        loose, tight = (driver.ask([0], method=method, deadline_ms=ms) for ms in (1, 10_000))
        driver.run()
        assert {candidate.method for candidate in (*loose.chosen, *tight.chosen)} == {method}
        assert loose.chosen[0].nfe < tight.chosen[0].nfe


def test_what_is_bought_is_answered_as_it_is_alone(driver: Driver) -> None:
    requests = [driver.ask(range(5), deadline_ms=milliseconds) for milliseconds in (5, 20, 100, 10_000)]
    driver.run()
    for request in requests:
        assert not any(request.degraded)
        if Outcome.deadline not in request.answer.outcome:
            assert_answered_as_alone(request)
    assert_answered_as_alone(requests[-1])


# The deadlines that are known.


def test_deadlines_pass_in_their_order(driver: Driver) -> None:
    deadlines = Deadlines()
    requests = {ms: driver.job([0], deadline_ms=ms) for ms in (30, 10, 20)}
    for request in (*requests.values(), driver.job([0])):
        deadlines.add(request)
    now = driver.clock.now
    assert list(deadlines.passed(now)) == []
    assert list(deadlines.passed(now + 25e-3)) == [requests[10], requests[20]]
    assert deadlines
    assert list(deadlines.passed(now + 1)) == [requests[30]]


def test_what_has_ended_has_no_deadline(driver: Driver) -> None:
    deadlines = Deadlines()
    requests = [driver.job([0], deadline_ms=ms) for ms in range(1, 100)]
    for request in requests:
        deadlines.add(request)
    for request in requests[::2]:
        request.end = End.answered
        deadlines.discard(request)
    assert list(deadlines.passed(driver.clock.now + 1)) == requests[1::2]


def test_jobs_that_were_answered_long_before_their_deadline_are_not_kept(driver: Driver) -> None:
    deadlines = Deadlines()
    for _ in range(100):
        together = [driver.job([0], deadline_ms=600_000) for _ in range(10)]
        for request in together:
            deadlines.add(request)
        for request in together:
            request.end = End.answered
        for request in together:
            deadlines.discard(request)
    assert not deadlines
    staying = driver.job([0], deadline_ms=600_000)
    deadlines.add(staying)
    assert deadlines
    assert list(deadlines.passed(driver.clock.now + 1000)) == [staying]
