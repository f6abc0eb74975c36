"""What becomes of a request, turn by turn."""

import numpy as np
import pytest

from models.solvers.solve import Outcome
from service.engine.model import ServedModel
from service.engine.request import End, Priority
from tests.service.engine.driving import Driver, alone, assert_answered_as_alone, served

TIGHT = 1e-6
"""At which an image takes more than ten steps."""


def test_a_request_waits_is_begun_and_is_answered(driver: Driver) -> None:
    assert driver.scheduler.idle
    request = driver.ask([0], tolerance=1e-3)
    assert (request.queued, request.started, request.started_at, request.end) == (1, 0, None, None)
    assert driver.admission.waiting() == 1
    driver.clock.now += 5
    driver.turn()
    assert (request.queued, request.started, request.started_at, request.end) == (0, 1, request.arrived_at + 5, None)
    assert driver.admission.waiting() == 0
    driver.run()
    assert driver.ended == [request]
    assert_answered_as_alone(request)
    assert driver.counted(End.answered) == 1


def test_the_evaluations_that_are_counted_are_those_that_the_answers_state(driver: Driver) -> None:
    requests = [driver.ask(range(7), tolerance=1e-3), driver.ask([3], method="dopri5"), driver.ask([1], method="rk4")]
    driver.run()
    assert driver.evaluations == sum(int(request.answer.nfe.sum()) for request in requests)
    assert driver.scheduler.counts.begun == 9
    assert driver.scheduler.counts.degraded == 0


def test_a_list_longer_than_a_batch_is_answered_in_its_order(driver: Driver) -> None:
    request = driver.ask(range(40), tolerance=1e-2)
    driver.run()
    assert_answered_as_alone(request)


def test_a_model_without_an_ode_is_answered_at_no_evaluation(driver: Driver, mlp: ServedModel) -> None:
    request = driver.ask(range(40), model=mlp)
    driver.run()
    assert_answered_as_alone(request)
    assert driver.evaluations == 0


def test_models_are_answered_side_by_side(driver: Driver, mlp: ServedModel) -> None:
    requests = [driver.ask(range(9), model=model) for model in (driver.model, served("odenet-mnist-fast"), mlp)]
    driver.run()
    for request in requests:
        assert_answered_as_alone(request)


def test_turns_with_nothing_to_do_do_nothing(driver: Driver) -> None:
    driver.turn(3)
    assert driver.scheduler.counts.turns == 0
    driver.ask([0])
    driver.run()
    turns = driver.scheduler.counts.turns
    driver.turn(3)
    assert driver.scheduler.counts.turns == turns


# A limit of evaluations.


def test_a_limit_of_evaluations_is_each_requests_own(driver: Driver) -> None:
    limited = driver.ask([0, 1], method="dopri5", tolerance=TIGHT, max_nfe=13)
    free = driver.ask([2], method="dopri5", tolerance=TIGHT)
    driver.run()
    assert limited.answer.nfe.tolist() == [13, 13]
    assert limited.answer.outcome.tolist() == [Outcome.max_nfe, Outcome.max_nfe]
    assert_answered_as_alone(free)


# Nobody waits any more.


def test_what_is_cancelled_before_it_is_begun_costs_nothing(driver: Driver) -> None:
    request = driver.ask(range(20), tolerance=TIGHT)
    driver.scheduler.end(request, End.cancelled)
    assert driver.admission.waiting() == 0
    assert driver.ended == [request]
    driver.run()
    assert request.end is End.cancelled
    assert driver.evaluations == 0


def test_what_is_cancelled_in_flight_costs_nothing_any_more(driver: Driver) -> None:
    request = driver.ask(range(20), tolerance=TIGHT)
    driver.turn(2)
    spent = driver.evaluations
    assert 0 < request.started < 20
    driver.scheduler.end(request, End.cancelled)
    assert driver.admission.waiting() == 0
    driver.run()
    assert driver.evaluations == spent < alone(request, 0).nfe[0] * 20 / 10


def test_neighbours_of_what_is_cancelled_go_on_as_they_would_have(driver: Driver) -> None:
    requests = [driver.ask([digit, digit + 1], tolerance=TIGHT) for digit in range(6)]
    driver.turn(3)
    for request in requests[::2]:
        driver.scheduler.end(request, End.cancelled)
    driver.run()
    for request in requests[1::2]:
        assert_answered_as_alone(request)
    assert driver.counted(End.cancelled) == driver.counted(End.answered) == 3


def test_what_has_ended_is_not_ended_again(driver: Driver) -> None:
    request = driver.ask([0])
    driver.run()
    driver.scheduler.end(request, End.cancelled)
    assert request.end is End.answered
    assert driver.ended == [request]


def test_all_can_be_ended_at_once(driver: Driver, mlp: ServedModel) -> None:
    requests = [
        driver.ask(range(20), tolerance=TIGHT),
        driver.ask([0], method="rk4", steps=50),
        driver.ask([0], model=mlp),
    ]
    driver.turn(2)
    requests.append(driver.ask([1], priority=Priority.low))
    driver.scheduler.end_all(End.stopped)
    assert {request.end for request in requests[:2] + requests[3:]} == {End.stopped}
    spent = driver.evaluations
    driver.run()
    assert driver.evaluations == spent


# Who goes first.


def test_one_image_is_not_kept_waiting_by_a_long_list(driver: Driver) -> None:
    long = driver.ask(range(200), tolerance=1e-1)
    driver.turn(4)
    short = driver.ask([0], tolerance=1e-1)
    assert driver.turns_until(lambda: short.end) <= 4
    assert long.queued > 100
    driver.run()
    assert_answered_as_alone(long)


def test_lists_of_different_lengths_take_turns(driver: Driver) -> None:
    first = driver.ask(range(100), tolerance=1e-1)
    driver.turn()
    ahead = first.started
    second = driver.ask(range(60), tolerance=1e-1)
    driver.turns_until(lambda: second.started >= 40)
    assert abs(first.started - ahead - second.started) <= 10


def test_lists_of_the_same_length_are_begun_in_the_order_in_which_they_came(driver: Driver) -> None:
    first, second = (driver.ask(range(40), tolerance=1e-1) for _ in range(2))
    driver.turns_until(lambda: second.started)
    assert not first.queued


def test_a_loose_request_is_not_kept_waiting_by_tight_ones(driver: Driver) -> None:
    tight = [driver.ask([digit], method="dopri5", tolerance=TIGHT) for digit in range(30)]
    driver.turn()
    loose = driver.ask([0], tolerance=1e-1)
    assert driver.turns_until(lambda: loose.end) <= 6
    assert not any(request.end for request in tight)
    driver.run()
    for request in (*tight, loose):
        assert_answered_as_alone(request)


def test_a_loose_row_leaves_the_flight_that_tight_ones_of_its_method_stay_in(driver: Driver) -> None:
    tight = [driver.ask([digit], method="heun2", tolerance=1e-5) for digit in range(3)]
    driver.turn(2)
    loose = driver.ask([0], method="heun2", tolerance=1e-1)
    assert driver.turns_until(lambda: loose.end) <= 6
    assert not any(request.end for request in tight)
    driver.run()
    for request in (*tight, loose):
        assert_answered_as_alone(request)


def test_all_lanes_get_their_turns(driver: Driver, mlp: ServedModel) -> None:
    long = [driver.ask(range(100), method=method) for method in ("heun2", "bosh3", "dopri5", "rk4", "euler")]
    long.append(driver.ask(range(100), model=mlp))
    driver.turn(2 * len(long))
    assert all(request.started for request in long)


def test_what_is_urgent_is_begun_first(driver: Driver) -> None:
    requests = {
        priority: driver.ask(range(60), tolerance=1e-1, priority=priority)
        for priority in (Priority.low, Priority.normal, Priority.high)
    }
    begun = []
    while not driver.scheduler.idle:
        driver.turn()
        begun.append([requests[priority].started for priority in Priority])
    for high, normal, low in begun:
        assert high == 60 or normal == 0
        assert normal == 60 or low == 0
    assert [requests[priority].end for priority in Priority] == [End.answered] * 3


def test_what_is_urgent_passes_what_waits_and_not_what_is_begun(driver: Driver) -> None:
    low = driver.ask(range(60), tolerance=1e-2, priority=Priority.low)
    driver.turn()
    begun = low.started
    high = driver.ask(range(5), tolerance=1e-2, priority=Priority.high)
    driver.turns_until(lambda: high.started == 5)
    assert low.queued >= 60 - begun - 5
    driver.run()
    assert driver.ended == [high, low]
    assert_answered_as_alone(low)


# What the caller is told of the pace.


def test_the_seconds_of_a_row_become_those_that_it_takes(model: ServedModel) -> None:
    driver = Driver(model, pace=0.25)
    driver.ask(range(300), tolerance=1e-1)
    driver.run()
    turns = driver.scheduler.counts.turns
    assert driver.admission.seconds_per_row == pytest.approx(0.25 * turns / 300, rel=0.5)


def test_a_pause_is_not_taken_for_work(driver: Driver) -> None:
    driver.clock.pace = 1e-3
    driver.ask(range(100), tolerance=1e-1)
    driver.run()
    before = driver.admission.seconds_per_row
    driver.clock.now += 1_000_000
    driver.ask(range(100), tolerance=1e-1)
    driver.run()
    assert driver.admission.seconds_per_row == pytest.approx(before, rel=0.5)
    assert np.isfinite(driver.model.costs.correction)


def test_a_loose_image_does_not_wait_for_tight_ones_of_its_method(driver: Driver) -> None:
    tight = driver.ask(range(200), method="heun2", tolerance=1e-6)
    driver.turn(3)
    loose = driver.ask([0], method="heun2", tolerance=1.0)
    assert driver.turns_until(lambda: loose.end) <= 4
    assert not tight.end


def test_what_an_image_takes_is_known_when_it_is_degraded_too() -> None:
    driver = Driver(served("odenet-mnist"), 400, pace=1e-4)
    driver.ask([0], tolerance=1e-5, priority=Priority.low)
    driver.ask(range(399), tolerance=1e-5, allow_degraded=True)

    def until_there_wait(rows: int) -> None:
        driver.turns_until(lambda: driver.admission.waiting(Priority.normal) <= rows)

    for waiting in (300, 200, 100):
        began, begun = driver.clock.now, driver.scheduler.counts.begun
        until_there_wait(waiting)
        taken = (driver.clock.now - began) / (driver.scheduler.counts.begun - begun)
        assert driver.admission.seconds_per_row == pytest.approx(taken, rel=0.5)
