"""Requests with a deadline: the time left chooses a tolerance, cuts a solve short, or ends the request."""

from typing import Any

import pytest

from models.solvers.solve import Outcome
from service.engine.candidate import Candidate
from service.engine.deadlines import Deadlines
from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest
from service.engine.tuning import FIRST_SPREAD, RESERVE
from tests.service.engine.driving import Driver, assert_answered_as_alone, served, tolerances


def cost(request: EngineRequest, candidate: Candidate) -> float:
    """Seconds that the scheduler reserves for all images of a request by a candidate, if no other request runs."""
    return RESERVE + FIRST_SPREAD * request.model.costs.answer(len(request.images), candidate.nfe_p90)


# A request whose deadline has passed ends.


def test_a_request_that_is_late_in_the_queue_never_starts(driver: Driver) -> None:
    request = driver.submit(range(20), tolerance=1e-3, deadline_ms=50)
    driver.clock.now += 0.051
    driver.run()
    assert request.end is End.expired
    assert driver.ended == [request]
    assert driver.evaluations == 0


def test_a_request_that_is_late_in_flight_ends_at_once(driver: Driver) -> None:
    request = driver.submit(range(20), method="dopri5", tolerance=1e-6, deadline_ms=50)
    driver.iterate(3)
    spent = driver.evaluations
    assert spent
    driver.clock.now += 0.051
    driver.run()
    assert request.end is End.expired
    assert driver.evaluations == spent


def test_requests_without_a_deadline_or_with_a_later_one_go_on(driver: Driver) -> None:
    requests = [driver.submit(range(4), tolerance=1e-5, **fields) for fields in ({}, {"deadline_ms": 60_000})]
    late = driver.submit(range(4), tolerance=1e-5, deadline_ms=50)
    driver.iterate(3)
    driver.clock.now += 0.051
    driver.run()
    assert late.end is End.expired
    for request in requests:
        assert_answered_as_alone(request)


def test_deadlines_apply_to_a_model_without_an_ode(driver: Driver, mlp: ServedModel) -> None:
    answered = driver.submit([0], model=mlp, deadline_ms=50)
    driver.iterate()
    late = driver.submit([0], model=mlp, deadline_ms=50)
    driver.clock.now += 0.051
    driver.run()
    assert_answered_as_alone(answered)
    assert late.end is End.expired


# Shortly before the deadline, the last step goes all the way to t = 1.


@pytest.mark.parametrize("asked", [{"method": "dopri5", "tolerance": 1e-6}, {"method": "rk4", "steps": 100}])
def test_a_solve_that_would_be_late_is_cut_short(model: ServedModel, asked: dict[str, Any]) -> None:
    driver = Driver(model, iteration_seconds=1e-3)
    request = driver.submit([0], deadline_ms=8, **asked)
    driver.run()
    assert request.end is End.answered
    assert request.answer.outcome[0] == Outcome.deadline
    assert 1 < request.answer.steps[0] < 10
    assert driver.clock.now < request.arrived_at + 8e-3


def test_other_solves_of_the_batch_are_not_cut_short(model: ServedModel) -> None:
    driver = Driver(model, iteration_seconds=1e-3)
    free = driver.submit([0], method="heun2", tolerance=1e-4)
    hurried = driver.submit([1], method="heun2", tolerance=1e-4, deadline_ms=8)
    driver.run()
    assert hurried.answer.outcome[0] == Outcome.deadline
    assert_answered_as_alone(free)


# A deadline without a tolerance chooses one.


def test_the_tightest_candidate_that_fits_is_chosen() -> None:
    slow = served("odenet-mnist")
    slow.costs.correction = 10.0
    asked = Driver(slow).request([0], deadline_ms=1, escalate=False)
    costs = [(candidate, cost(asked, candidate)) for candidate in asked.plan.candidates]
    assert len(costs) >= 5
    for candidate, seconds in costs:
        driver = Driver(served("odenet-mnist"))
        driver.model.costs.correction = 10.0
        request = driver.submit([0], deadline_ms=1.001e3 * seconds, escalate=False)
        assert request.plan.by_deadline
        driver.iterate()
        assert request.chosen[0] == candidate
        driver.run()
        assert request.end is End.answered


def test_more_time_never_chooses_a_looser_tolerance(model: ServedModel) -> None:
    chosen = []
    for milliseconds in (1, 1.5, 2, 4, 8, 16, 1000):
        driver = Driver(model)
        request = driver.submit([0], deadline_ms=milliseconds, escalate=False)
        driver.iterate()
        chosen += tolerances(request.chosen)
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] > chosen[-1]


def test_the_images_of_a_request_share_its_time(model: ServedModel) -> None:
    one, many = Driver(model), Driver(model)
    alone, together = (
        each.submit(range(rows), deadline_ms=30, escalate=False) for each, rows in ((one, 1), (many, 50))
    )
    one.iterate()
    many.iterate()
    assert tolerances(alone.chosen)[0] < tolerances(together.chosen)[0]


def test_the_loosest_candidate_is_tried_if_none_is_expected_to_fit(driver: Driver) -> None:
    driver.model.costs.correction = 10.0
    request = driver.submit([0], deadline_ms=2.5)
    assert cost(request, request.plan.candidates[-1]) > 2.5e-3
    driver.iterate()
    assert request.chosen[0] == request.plan.candidates[-1]


def test_a_request_that_cannot_meet_its_deadline_ends_at_once(driver: Driver) -> None:
    request = driver.submit(range(500), deadline_ms=1)
    assert request.end is End.expired
    assert (driver.ended, driver.admission.rows, driver.scheduler.idle) == ([request], 0, True)


def test_a_request_that_can_no_longer_meet_its_deadline_does_not_start(driver: Driver) -> None:
    request = driver.submit([0], tolerance=1e-3, deadline_ms=5)
    driver.clock.now += 4.9e-3
    driver.run()
    assert request.end is End.expired
    assert driver.evaluations == 0


def test_time_spent_in_the_queue_is_no_longer_available(driver: Driver) -> None:
    fields: dict[str, Any] = {"deadline_ms": 20, "escalate": False}
    early, late = driver.request([0], **fields), driver.request([0], **fields)
    left = cost(late, late.plan.candidates[3]) * 1.001
    for request, passed in ((early, 0.0), (late, 20e-3 - left)):
        fresh = Driver(driver.model)
        fresh.clock.now = request.arrived_at + passed
        fresh.admission.enter(request.demand)
        fresh.scheduler.submit(request)
        fresh.iterate()
    assert late.chosen[0] == late.plan.candidates[3]
    assert tolerances(early.chosen)[0] < tolerances(late.chosen)[0]


def test_a_deadline_does_not_change_an_explicit_tolerance(driver: Driver) -> None:
    request = driver.submit([0, 1], tolerance=1e-4, deadline_ms=1)
    driver.iterate()
    assert tolerances(request.chosen) == [1e-4, 1e-4]


def test_a_deadline_keeps_a_named_method_and_chooses_its_settings(driver: Driver) -> None:
    for method in ("rk4", "bosh3"):
        loose, tight = (driver.submit([0], method=method, deadline_ms=ms) for ms in (1, 10_000))
        driver.run()
        assert {candidate.method for candidate in (*loose.chosen, *tight.chosen)} == {method}
        assert loose.chosen[0].nfe < tight.chosen[0].nfe


def test_a_chosen_tolerance_gets_the_answer_that_it_gets_alone(driver: Driver) -> None:
    requests = [driver.submit(range(5), deadline_ms=milliseconds) for milliseconds in (5, 20, 100, 10_000)]
    driver.run()
    for request in requests:
        assert not any(request.degraded)
        if Outcome.deadline not in request.answer.outcome:
            assert_answered_as_alone(request)
    assert_answered_as_alone(requests[-1])


# The queue of deadlines.


def test_deadlines_pass_in_order(driver: Driver) -> None:
    deadlines = Deadlines()
    requests = {ms: driver.request([0], deadline_ms=ms) for ms in (30, 10, 20)}
    for request in (*requests.values(), driver.request([0])):
        deadlines.add(request)
    now = driver.clock.now
    assert list(deadlines.passed(now)) == []
    assert list(deadlines.passed(now + 25e-3)) == [requests[10], requests[20]]
    assert deadlines
    assert list(deadlines.passed(now + 1)) == [requests[30]]


def test_requests_that_have_ended_have_no_deadline(driver: Driver) -> None:
    deadlines = Deadlines()
    requests = [driver.request([0], deadline_ms=ms) for ms in range(1, 100)]
    for request in requests:
        deadlines.add(request)
    for request in requests[::2]:
        request.end = End.answered
        deadlines.discard(request)
    assert list(deadlines.passed(driver.clock.now + 1)) == requests[1::2]


def test_requests_answered_long_before_their_deadline_are_not_kept(driver: Driver) -> None:
    deadlines = Deadlines()
    for _ in range(100):
        together = [driver.request([0], deadline_ms=600_000) for _ in range(10)]
        for request in together:
            deadlines.add(request)
        for request in together:
            request.end = End.answered
        for request in together:
            deadlines.discard(request)
    assert not deadlines
    staying = driver.request([0], deadline_ms=600_000)
    deadlines.add(staying)
    assert deadlines
    assert list(deadlines.passed(driver.clock.now + 1000)) == [staying]
