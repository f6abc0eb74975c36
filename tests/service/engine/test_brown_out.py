"""A busy service solves more loosely for those who allow it, by as much as it is busy, and down to a floor."""

from typing import Any

import pytest

from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest, Priority
from service.errors import OverloadedError
from tests.service.engine.driving import Driver, assert_answered_as_alone, tolerances

QUEUE_ROWS = 100
ALLOWED: dict[str, Any] = {"tolerance": 1e-4, "allow_degraded": True}


def crowd(driver: Driver, **fields: Any) -> EngineRequest:
    """A list that fills the queue, but for an image that waits behind it."""
    last = driver.ask([0], tolerance=1e-4, priority=Priority.low)
    request = driver.ask(range(QUEUE_ROWS - 1), **ALLOWED | fields)
    assert last.queued
    return request


def asked_of_a_busy_service(model: ServedModel, waiting: int, **fields: Any) -> EngineRequest:
    """A request for an image, begun while so many wait behind it."""
    driver = Driver(model, QUEUE_ROWS)
    request = driver.ask([0], **fields)
    if waiting > 1:
        driver.ask([1] * (waiting - 1), method="rk4", steps=1)
    driver.turns_until(lambda: request.started)
    return request


def test_the_busier_the_looser_and_never_below_the_floor(model: ServedModel) -> None:
    requests = [asked_of_a_busy_service(model, waiting, **ALLOWED) for waiting in range(1, QUEUE_ROWS + 1, 3)]
    nfe = [request.chosen[0].nfe for request in requests]
    assert nfe == sorted(nfe, reverse=True)
    assert len(set(nfe)) >= 4, "step by step"
    assert tolerances(requests[0].chosen) == [1e-4]
    assert requests[-1].chosen[0] == requests[-1].plan.candidates[-1]
    assert [request.degraded[0] for request in requests] == [
        request.chosen[0] != request.plan.candidates[0] for request in requests
    ]


@pytest.mark.parametrize("floor", [0.99, 0.9999, 1.0])
def test_the_floor_is_the_least_agreement(model: ServedModel, floor: float) -> None:
    profile = model.artifact.profile
    assert profile is not None
    for waiting in (30, QUEUE_ROWS):
        (candidate,) = asked_of_a_busy_service(model, waiting, floor=floor, **ALLOWED).chosen
        assert candidate.solver is not None
        assert profile.nearest(candidate.solver).agreement >= floor


def test_no_tolerance_asked_is_leave_to_loosen_it(model: ServedModel) -> None:
    for fields in ({"method": "dopri5"}, {"method": "rk4"}):
        (calm, busy) = (asked_of_a_busy_service(model, waiting, **fields) for waiting in (1, QUEUE_ROWS))
        assert (calm.degraded, busy.degraded) == ([False], [busy.chosen[0].nfe < calm.chosen[0].nfe])
        assert busy.chosen[0].method == calm.chosen[0].method


@pytest.mark.parametrize(
    "fields",
    [
        {"tolerance": 1e-4},
        {"rtol": 1e-4},
        {"atol": 1e-4},
        {"method": "rk4", "steps": 8},
        {"tolerance": 1e-4, "allow_degraded": False},
        {"method": "dopri5", "allow_degraded": False},
        {"allow_degraded": False},
    ],
    ids=str,
)
def test_what_is_asked_explicitly_is_kept(model: ServedModel, fields: dict[str, Any]) -> None:
    calm, busy = (asked_of_a_busy_service(model, waiting, **fields) for waiting in (1, QUEUE_ROWS))
    assert busy.chosen == calm.chosen
    assert busy.degraded == [False]


def test_what_waits_at_a_lower_priority_makes_nobody_looser(model: ServedModel) -> None:
    driver = Driver(model, QUEUE_ROWS)
    driver.ask([1] * QUEUE_ROWS, method="rk4", steps=1, priority=Priority.low)
    request = driver.ask([0], priority=Priority.high, **ALLOWED)
    driver.turns_until(lambda: request.started)
    assert request.degraded == [False]


def test_once_the_queue_is_empty_all_is_as_before(model: ServedModel) -> None:
    driver = Driver(model, QUEUE_ROWS)
    before = crowd(driver)
    driver.run()
    assert any(before.degraded)
    assert driver.scheduler.counts.degraded == sum(before.degraded)
    after = driver.ask([0], **ALLOWED)
    driver.run()
    assert tolerances(after.chosen) == [1e-4]
    assert after.degraded == [False]


def test_a_list_that_nobody_waits_behind_is_solved_as_it_was_asked(model: ServedModel) -> None:
    driver = Driver(model, QUEUE_ROWS)
    request = driver.ask(range(QUEUE_ROWS), **ALLOWED)
    driver.run()
    assert not any(request.degraded)
    assert set(tolerances(request.chosen)) == {1e-4}


def test_every_image_says_by_what_it_was_solved(model: ServedModel) -> None:
    driver = Driver(model, QUEUE_ROWS)
    request = crowd(driver)
    driver.run()
    assert len(set(tolerances(request.chosen))) >= 4
    assert_answered_as_alone(request)


def test_a_busy_service_works_its_queue_off_in_fewer_evaluations(model: ServedModel) -> None:
    spent = []
    for allowed in (False, True):
        driver = Driver(model, QUEUE_ROWS)
        crowd(driver, allow_degraded=allowed)
        driver.run()
        spent.append(driver.evaluations)
    assert spent[1] < spent[0] / 2


def test_guests_and_those_whose_lane_it_is_both_get_on(model: ServedModel) -> None:
    """Both lanes are asked for more than they can hold: one by what is degraded to it, one by its own."""
    driver = Driver(model, QUEUE_ROWS)
    own = driver.ask(range(40), method="heun2", tolerance=1.0)
    guests = driver.ask(range(50), **ALLOWED)
    driver.turn(4)
    assert "heun2" in {candidate.method for candidate in guests.chosen[: guests.started]}
    assert driver.turns_until(lambda: own.started >= 20 and guests.started >= 20) < 40
    assert own.queued or guests.queued
    driver.run()
    assert_answered_as_alone(own)
    assert_answered_as_alone(guests)


def test_a_lane_that_is_full_of_its_own_has_room_for_guests(model: ServedModel) -> None:
    driver = Driver(model, QUEUE_ROWS)
    own = driver.ask(range(30), method="heun2", tolerance=1e-6)
    driver.turn(2)
    begun = own.started
    guests = driver.ask(range(50), **ALLOWED)
    assert driver.turns_until(lambda: guests.started) <= 2
    assert own.started == begun, "it is full"
    assert guests.chosen[0].method == "heun2"
    driver.turns_until(lambda: guests.end)
    assert not own.end
    assert_answered_as_alone(guests)


def test_guests_are_not_overtaken_for_ever(model: ServedModel) -> None:
    """For as long as the lane that they are guests of has images of its own."""
    driver = Driver(model, QUEUE_ROWS)
    driver.ask(range(10), method="heun2", tolerance=1.0)
    guests = driver.ask(range(60), **ALLOWED)
    for _ in range(400):
        try:
            driver.ask([0, 1], method="heun2", tolerance=1.0)
        except OverloadedError:
            driver.turn()
        if guests.end:
            break
    assert guests.end is End.answered
