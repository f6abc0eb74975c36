"""The order in which images leave a queue, and which images may overtake others."""

from collections.abc import Iterable

import pytest

from service.engine.queue import RequestQueue
from service.engine.request import EngineRequest, Priority
from service.engine.tuning import LOOK_AHEAD
from tests.service.engine.driving import Driver, assert_answered_as_alone, timed

HIGH, NORMAL, LOW = Priority


@pytest.fixture
def queue() -> RequestQueue:
    return RequestQueue()


def start(queue: RequestQueue, passing_over: Iterable[EngineRequest] = ()) -> list[EngineRequest]:
    """Start all images except those of some requests; return the request of each started image, in order."""
    started = []
    for request in queue.in_turn():
        if request not in passing_over:
            request.start_next(request.plan.candidates[0], degraded=False, now=0.0)
            queue.started(request)
            started.append(request)
    return started


def test_requests_of_one_size_start_in_order_of_arrival(driver: Driver, queue: RequestQueue) -> None:
    requests = [driver.request(range(2)) for _ in range(3)]
    for request in requests:
        queue.append(request)
    assert start(queue) == [request for request in requests for _ in range(2)]
    assert not queue


def test_requests_of_different_sizes_take_turns_image_by_image(driver: Driver, queue: RequestQueue) -> None:
    long, short = driver.request(range(4)), driver.request(range(2))
    for request in (long, short):
        queue.append(request)
    assert start(queue) == [long, short, long, short, long, long]


def test_callers_take_turns_image_by_image(driver: Driver, queue: RequestQueue) -> None:
    first = [driver.request(range(2), caller="anna") for _ in range(3)]
    second = [driver.request(range(2), caller="ben") for _ in range(2)]
    for request in (*first, *second):
        queue.append(request)
    expected = [first[0], second[0], first[0], second[0], first[1], second[1], first[1], second[1], first[2], first[2]]
    assert start(queue) == expected


def test_a_caller_with_requests_of_many_sizes_has_no_more_turns(driver: Driver, queue: RequestQueue) -> None:
    many = [driver.request(range(rows), caller="anna") for rows in (1, 2, 4, 8)]
    other = driver.request(range(6), caller="ben")
    for request in (*many, other):
        queue.append(request)
    assert start(queue)[1:12:2] == [other] * 6


def test_the_turn_is_kept_between_two_iterations(driver: Driver, queue: RequestQueue) -> None:
    long, short = driver.request(range(4)), driver.request(range(2))
    for request in (long, short):
        queue.append(request)
    first = next(queue.in_turn())
    first.start_next(first.plan.candidates[0], degraded=False, now=0.0)
    queue.started(first)
    assert first is long
    assert next(queue.in_turn()) is short


def test_priority_comes_before_caller_size_and_arrival(driver: Driver, queue: RequestQueue) -> None:
    requests = [driver.request([0], priority=priority, caller=priority.name) for priority in (LOW, NORMAL, HIGH)]
    for request in requests:
        queue.append(request)
    assert start(queue) == requests[::-1]


def test_a_request_that_is_passed_over_keeps_its_place(driver: Driver, queue: RequestQueue) -> None:
    requests = [driver.request(digits) for digits in (range(2), range(2), range(4), range(2))]
    for request in requests:
        queue.append(request)
    first, second, long, third = requests
    assert start(queue, passing_over=[first, long]) == [second, second, third, third]
    assert len(queue) == 2
    assert start(queue) == [long, first, long, first, long, long]


def test_a_removed_request_has_no_turn(driver: Driver, queue: RequestQueue) -> None:
    requests = [driver.request([0]) for _ in range(3)]
    for request in requests:
        queue.append(request)
    queue.remove(requests[1])
    assert len(queue) == 2
    assert start(queue) == [requests[0], requests[2]]


# Images whose batch is full do not hold up the images behind them.


STRICT = {"tolerance": 1e-4}
YIELDING = {"tolerance": 1e-4, "allow_degraded": True}


def test_an_image_whose_batch_is_full_does_not_hold_up_an_image_of_another_batch(driver: Driver) -> None:
    driver.limit_queue(100, **STRICT)
    strict, yielding = driver.submit(range(40), **STRICT), driver.submit(range(40), **YIELDING)
    driver.iterate()
    assert strict.queued, "the batch is full"
    assert yielding.started, "the queue is long, so these images are solved more loosely, in another batch"
    assert {candidate.method for candidate in yielding.chosen[: yielding.started]} != {strict.chosen[0].method}
    driver.run()
    assert_answered_as_alone(strict)
    assert_answered_as_alone(yielding)


def test_an_image_that_is_passed_over_starts_before_later_images_of_its_batch(driver: Driver) -> None:
    driver.limit_queue(200, **STRICT)
    first = driver.submit(range(40), **STRICT)
    driver.submit(range(40), **YIELDING)
    later = driver.submit(range(40), **STRICT)
    driver.iterate_until(lambda: not first.queued or later.started)
    assert not first.queued
    assert later.started <= 1 + driver.scheduler.rows


def test_high_priority_is_not_overtaken_in_its_own_batch(driver: Driver) -> None:
    driver.limit_queue(100, **STRICT)
    high = driver.submit(range(40), priority=HIGH, **STRICT)
    low = driver.submit(range(40), priority=LOW, **STRICT)
    while not driver.scheduler.idle:
        driver.iterate()
        assert not high.queued or not low.started


def test_an_iteration_passes_over_a_limited_number_of_requests() -> None:
    driver = timed()
    driver.limit_queue(60, **STRICT)
    full = driver.submit(range(20), **STRICT)
    driver.iterate()
    assert full.queued
    ahead = [driver.submit([0], **STRICT) for _ in range(LOOK_AHEAD + 1)]
    behind = driver.submit([0], **YIELDING)
    driver.iterate()
    assert not behind.started
    driver.iterate_until(lambda: behind.started)
    assert sum(request.started for request in ahead) < len(ahead)
