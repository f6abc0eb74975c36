"""What happens to requests, iteration by iteration."""

from typing import Any

import pytest

from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.engine.request import End, Priority
from tests.service.engine.driving import Driver, alone, assert_answered_as_alone, served, timed

TIGHT = 1e-6
"""A tolerance at which an image takes more than ten steps."""


def test_a_request_waits_starts_and_is_answered(driver: Driver) -> None:
    assert driver.scheduler.idle
    request = driver.submit([0], tolerance=1e-3)
    assert (request.queued, request.started, request.started_at, request.end) == (1, 0, None, None)
    assert driver.admission.rows == 1
    driver.clock.now += 5
    driver.iterate()
    assert (request.queued, request.started, request.started_at, request.end) == (0, 1, request.arrived_at + 5, None)
    assert driver.admission.rows == 0
    driver.run()
    assert driver.ended == [request]
    assert_answered_as_alone(request)
    assert driver.count(End.answered) == 1


def test_the_answers_report_the_evaluations_that_were_computed(driver: Driver) -> None:
    requests = [
        driver.submit(range(7), tolerance=1e-3),
        driver.submit([3], method="dopri5"),
        driver.submit([1], method="rk4"),
    ]
    driver.run()
    assert driver.evaluations == sum(int(request.answer.nfe.sum()) for request in requests)
    assert not any(degraded for request in requests for degraded in request.degraded)


def test_a_request_with_more_images_than_a_batch_is_answered_in_order(driver: Driver) -> None:
    request = driver.submit(range(40), tolerance=1e-2)
    driver.run()
    assert_answered_as_alone(request)


def test_a_model_without_an_ode_needs_no_evaluation(driver: Driver, mlp: ServedModel) -> None:
    request = driver.submit(range(40), model=mlp)
    driver.run()
    assert_answered_as_alone(request)
    assert driver.evaluations == 0


def test_several_models_answer_at_the_same_time(driver: Driver, mlp: ServedModel) -> None:
    requests = [driver.submit(range(9), model=model) for model in (driver.model, served("odenet-mnist-fast"), mlp)]
    driver.run()
    for request in requests:
        assert_answered_as_alone(request)


def test_an_iteration_without_work_does_nothing(driver: Driver) -> None:
    assert driver.scheduler.iterate() is None
    driver.submit([0])
    driver.run()
    spent = driver.evaluations
    assert driver.scheduler.iterate() is None
    assert driver.evaluations == spent


def test_an_iteration_reports_the_model_and_the_images_that_stepped_together(driver: Driver) -> None:
    driver.submit([0, 1], tolerance=TIGHT)
    iteration = driver.scheduler.iterate()
    assert iteration == (driver.model.name, driver.model.version, 2)


# A limit on the evaluations.


def test_a_limit_on_evaluations_applies_to_its_own_request_only(driver: Driver) -> None:
    limited = driver.submit([0, 1], method="dopri5", tolerance=TIGHT, max_nfe=13)
    free = driver.submit([2], method="dopri5", tolerance=TIGHT)
    driver.run()
    assert limited.answer.nfe.tolist() == [13, 13]
    assert limited.answer.outcome.tolist() == [Outcome.max_nfe, Outcome.max_nfe]
    assert_answered_as_alone(free)


# Requests that end early.


def test_a_request_cancelled_in_the_queue_costs_no_evaluation(driver: Driver) -> None:
    request = driver.submit(range(20), tolerance=TIGHT)
    driver.scheduler.end(request, End.cancelled)
    assert driver.admission.rows == 0
    assert driver.ended == [request]
    driver.run()
    assert request.end is End.cancelled
    assert driver.evaluations == 0


def test_a_request_cancelled_in_flight_costs_no_further_evaluation(driver: Driver) -> None:
    request = driver.submit(range(20), tolerance=TIGHT)
    driver.iterate(2)
    spent = driver.evaluations
    assert 0 < request.started < 20
    driver.scheduler.end(request, End.cancelled)
    assert driver.admission.rows == 0
    driver.run()
    assert driver.evaluations == spent < alone(request, 0).nfe[0] * 20 / 10


def test_a_cancelled_request_does_not_change_the_answers_of_its_batch(driver: Driver) -> None:
    requests = [driver.submit([digit, digit + 1], tolerance=TIGHT) for digit in range(6)]
    driver.iterate(3)
    for request in requests[::2]:
        driver.scheduler.end(request, End.cancelled)
    driver.run()
    for request in requests[1::2]:
        assert_answered_as_alone(request)
    assert driver.count(End.cancelled) == driver.count(End.answered) == 3


def test_a_request_that_has_ended_does_not_end_again(driver: Driver) -> None:
    request = driver.submit([0])
    driver.run()
    driver.scheduler.end(request, End.cancelled)
    assert request.end is End.answered
    assert driver.ended == [request]


def test_all_requests_can_be_ended_at_once(driver: Driver, mlp: ServedModel) -> None:
    requests = [
        driver.submit(range(20), tolerance=TIGHT),
        driver.submit([0], method="rk4", steps=50),
        driver.submit([0], model=mlp),
    ]
    driver.iterate(2)
    requests.append(driver.submit([1], priority=Priority.low))
    driver.scheduler.end_all(End.stopped)
    assert {request.end for request in requests[:2] + requests[3:]} == {End.stopped}
    spent = driver.evaluations
    driver.run()
    assert driver.evaluations == spent


# Which images start first.


def test_a_single_image_does_not_wait_for_a_long_request(driver: Driver) -> None:
    long = driver.submit(range(200), tolerance=1e-1)
    driver.iterate(4)
    short = driver.submit([0], tolerance=1e-1)
    assert driver.iterate_until(lambda: short.end) <= 4
    assert long.queued > 100
    driver.run()
    assert_answered_as_alone(long)


def test_requests_of_different_lengths_take_turns(driver: Driver) -> None:
    first = driver.submit(range(250), tolerance=1e-1)
    driver.iterate()
    ahead = first.started
    second = driver.submit(range(60), tolerance=1e-1)
    driver.iterate_until(lambda: second.started >= 40)
    assert abs(first.started - ahead - second.started) <= 10


def test_requests_of_the_same_length_start_in_order_of_arrival(driver: Driver) -> None:
    first, second = (driver.submit(range(40), tolerance=1e-1) for _ in range(2))
    driver.iterate_until(lambda: second.started)
    assert not first.queued


def test_a_loose_request_does_not_wait_for_tight_requests_of_another_method(driver: Driver) -> None:
    tight = [driver.submit([digit], method="dopri5", tolerance=TIGHT) for digit in range(30)]
    driver.iterate()
    loose = driver.submit([0], tolerance=1e-1)
    assert driver.iterate_until(lambda: loose.end) <= 6
    assert not any(request.end for request in tight)
    driver.run()
    for request in (*tight, loose):
        assert_answered_as_alone(request)


def test_a_loose_image_leaves_before_the_tight_images_of_its_method(driver: Driver) -> None:
    tight = [driver.submit([digit], method="heun2", tolerance=1e-5) for digit in range(3)]
    driver.iterate(2)
    loose = driver.submit([0], method="heun2", tolerance=1e-1)
    assert driver.iterate_until(lambda: loose.end) <= 6
    assert not any(request.end for request in tight)
    driver.run()
    for request in (*tight, loose):
        assert_answered_as_alone(request)


def test_all_batches_take_turns(driver: Driver, mlp: ServedModel) -> None:
    long = [driver.submit(range(100), method=method) for method in ("heun2", "bosh3", "dopri5", "rk4", "euler")]
    long.append(driver.submit(range(100), model=mlp))
    driver.iterate(2 * len(long))
    assert all(request.started for request in long)


def test_high_priority_starts_first(driver: Driver) -> None:
    requests = {
        priority: driver.submit(range(60), tolerance=1e-1, priority=priority)
        for priority in (Priority.low, Priority.normal, Priority.high)
    }
    progress = []
    while not driver.scheduler.idle:
        driver.iterate()
        progress.append([requests[priority].started for priority in Priority])
    for high, normal, low in progress:
        assert high == 60 or normal == 0
        assert normal == 60 or low == 0
    assert [requests[priority].end for priority in Priority] == [End.answered] * 3


def test_high_priority_overtakes_queued_but_not_running_images(driver: Driver) -> None:
    low = driver.submit(range(60), tolerance=1e-2, priority=Priority.low)
    driver.iterate()
    started = low.started
    high = driver.submit(range(5), tolerance=1e-2, priority=Priority.high)
    driver.iterate_until(lambda: high.started == 5)
    assert low.queued >= 60 - started - 5
    driver.run()
    assert driver.ended == [high, low]
    assert_answered_as_alone(low)


def test_a_loose_image_does_not_wait_for_a_long_tight_request_of_its_method(driver: Driver) -> None:
    tight = driver.submit(range(200), method="heun2", tolerance=1e-6)
    driver.iterate(3)
    loose = driver.submit([0], method="heun2", tolerance=1.0)
    assert driver.iterate_until(lambda: loose.end) <= 4
    assert not tight.end


# The pace: the time that passes while a second of the expected work is done.


@pytest.mark.parametrize(
    "fields", [{"tolerance": 1e-1}, {"tolerance": 1e-5}, {"method": "rk4", "steps": 20}, {}], ids=str
)
def test_the_expected_wait_approaches_the_measured_time(fields: dict[str, Any]) -> None:
    driver = timed()
    driver.submit(range(140), **fields)
    driver.iterate_until(lambda: driver.admission.rows < 105)
    began, wait, started = driver.clock.now, driver.admission.queued_seconds, driver.admission.rows
    driver.iterate_until(lambda: driver.admission.rows < 35)
    measured = (driver.clock.now - began) * started / (started - driver.admission.rows)
    assert wait == pytest.approx(measured, rel=0.3)


def test_time_between_two_iterations_counts_for_the_pace_while_images_wait() -> None:
    driver = timed()
    driver.submit(range(100), tolerance=1e-3)
    driver.run()
    idle = driver.admission.pace
    driver.clock.now += 1_000_000
    driver.submit(range(100), tolerance=1e-3)
    while not driver.scheduler.idle:
        driver.iterate()
        driver.clock.now += 5e-3
    assert 2 * idle < driver.admission.pace < 100 * idle, "only the idle time does not count"
