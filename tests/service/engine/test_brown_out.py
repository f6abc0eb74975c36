"""Brown-out: a busy service solves more loosely where a request allows it, down to a floor of agreement."""

from typing import Any

import pytest

from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest, Priority
from tests.service.engine.driving import Driver, assert_answered_as_alone, timed, tolerances

QUEUE_ROWS = 100
"""The limit of the queue, as a number of images at the requested tolerance."""
ALLOWED: dict[str, Any] = {"tolerance": 1e-4, "allow_degraded": True}


def busy() -> Driver:
    """An engine with a short queue, on a device that takes time."""
    driver = timed()
    driver.limit_queue(QUEUE_ROWS, **ALLOWED)
    return driver


def crowd(driver: Driver, **fields: Any) -> EngineRequest:
    """A request that fills the queue, with one image of another request behind it."""
    last = driver.submit([0], priority=Priority.low, **ALLOWED)
    request = driver.submit(range(QUEUE_ROWS - 1), **ALLOWED | fields)
    assert last.queued
    return request


def started_in_a_queue_of(waiting: int, **fields: Any) -> EngineRequest:
    """A request for one image that has started while a number of such requests wait, itself included."""
    driver = timed()
    driver.limit_queue(QUEUE_ROWS, **fields)
    request, *_ = (driver.submit([number], **fields) for number in range(waiting))
    driver.iterate_until(lambda: request.started)
    return request


def test_a_fuller_queue_chooses_a_looser_candidate() -> None:
    requests = [started_in_a_queue_of(waiting, **ALLOWED) for waiting in range(1, QUEUE_ROWS + 1, 3)]
    nfe = [request.chosen[0].nfe for request in requests]
    assert nfe == sorted(nfe, reverse=True)
    assert len(set(nfe)) >= 4, "the candidates change gradually"
    assert tolerances(requests[0].chosen) == [1e-4]
    assert requests[-1].chosen[0] == requests[-1].plan.candidates[-1]
    assert [request.degraded[0] for request in requests] == [
        request.chosen[0] != request.plan.candidates[0] for request in requests
    ]


@pytest.mark.parametrize("floor", [0.99, 0.9999, 1.0])
def test_no_chosen_candidate_agrees_less_than_the_floor(model: ServedModel, floor: float) -> None:
    profile = model.artifact.profile
    assert profile is not None
    for waiting in (30, QUEUE_ROWS):
        (candidate,) = started_in_a_queue_of(waiting, floor=floor, **ALLOWED).chosen
        assert candidate.solver is not None
        assert profile.nearest(candidate.solver).agreement >= floor


def test_a_request_without_a_tolerance_allows_degradation() -> None:
    for fields in ({"method": "dopri5"}, {"method": "rk4"}):
        (calm, busy) = (started_in_a_queue_of(waiting, **fields) for waiting in (1, QUEUE_ROWS))
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
def test_explicit_settings_are_not_degraded(fields: dict[str, Any]) -> None:
    calm, busy = (started_in_a_queue_of(waiting, **fields) for waiting in (1, QUEUE_ROWS))
    assert busy.chosen == calm.chosen
    assert busy.degraded == [False]


def test_a_caller_whose_requests_do_not_wait_is_not_degraded_for_another_caller() -> None:
    driver = busy()
    crowd(driver, caller="anna")
    request = driver.submit([0], caller="ben", **ALLOWED)
    driver.iterate_until(lambda: request.started)
    assert request.degraded == [False]


def test_images_of_a_lower_priority_do_not_degrade_a_request() -> None:
    driver = busy()
    for digit in range(QUEUE_ROWS):
        driver.submit([digit], priority=Priority.low, **ALLOWED)
    request = driver.submit([0], priority=Priority.high, **ALLOWED)
    driver.iterate_until(lambda: request.started)
    assert request.degraded == [False]


def test_degradation_ends_with_the_queue() -> None:
    driver = busy()
    before = crowd(driver)
    driver.run()
    assert any(before.degraded)
    after = driver.submit([0], **ALLOWED)
    driver.run()
    assert tolerances(after.chosen) == [1e-4]
    assert after.degraded == [False]


def test_a_request_is_not_degraded_if_no_other_request_waits() -> None:
    driver = busy()
    request = driver.submit(range(QUEUE_ROWS), **ALLOWED)
    driver.run()
    assert not any(request.degraded)
    assert set(tolerances(request.chosen)) == {1e-4}


def test_each_image_reports_its_own_settings() -> None:
    driver = busy()
    request = crowd(driver)
    driver.run()
    assert len(set(tolerances(request.chosen))) >= 4
    assert_answered_as_alone(request)


def test_degradation_saves_evaluations() -> None:
    spent = []
    for allowed in (False, True):
        driver = busy()
        crowd(driver, allow_degraded=allowed)
        driver.run()
        spent.append(driver.evaluations)
    assert spent[1] < spent[0] / 2


def test_guests_and_own_images_of_a_batch_both_progress() -> None:
    """The batch gets more images of both kinds than it can hold: degraded images as guests, and images of its own."""
    driver = busy()
    own = driver.submit(range(40), method="heun2", tolerance=1.0)
    guests = driver.submit(range(50), **ALLOWED)
    driver.iterate(4)
    assert "heun2" in {candidate.method for candidate in guests.chosen[: guests.started]}
    assert driver.iterate_until(lambda: own.started >= 20 and guests.started >= 20) < 40
    assert own.queued or guests.queued
    driver.run()
    assert_answered_as_alone(own)
    assert_answered_as_alone(guests)


def test_a_batch_full_of_its_own_images_has_room_for_guests() -> None:
    driver = busy()
    own = driver.submit(range(30), method="heun2", tolerance=1e-6)
    driver.iterate(2)
    started = own.started
    guests = driver.submit(range(50), **ALLOWED)
    assert driver.iterate_until(lambda: guests.started) <= 2
    assert own.started == started, "the batch is full"
    assert guests.chosen[0].method == "heun2"
    driver.iterate_until(lambda: guests.end)
    assert not own.end
    assert_answered_as_alone(guests)


def test_guests_are_not_overtaken_for_ever() -> None:
    """The batch keeps getting images of its own, and the guests are still answered."""
    driver = busy()
    driver.submit(range(10), method="heun2", tolerance=1.0)
    guests = driver.submit(range(60), **ALLOWED)
    for _ in range(400):
        driver.submit([0, 1], method="heun2", tolerance=1.0)
        driver.iterate()
        if guests.end:
            break
    assert guests.end is End.answered
