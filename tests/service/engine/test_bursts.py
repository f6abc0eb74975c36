"""Deadlines under bursts, on a device with known costs and a clock that advances by them."""

from typing import Any

import pytest

from models.solvers.solve import Outcome
from service.engine.request import End, EngineRequest, Priority
from tests.service.engine.driving import Driver, timed

BURST = 40
"""Images that arrive together: a multiple of what the service can solve tightly in the time of the deadline."""

DEADLINE_MS = 40
ROUNDS = 6


def arrive(driver: Driver, **fields: Any) -> list[EngineRequest]:
    """Bursts of single images, each after a pause in which the service becomes idle."""
    requests = []
    for _ in range(ROUNDS):
        requests += [driver.submit([digit], **fields) for digit in range(BURST)]
        driver.run()
        driver.clock.now += 0.1
    return requests


def in_time(requests: list[EngineRequest]) -> float:
    """The share of the requests that were answered within the deadline."""
    limit = DEADLINE_MS / 1e3
    timely = [
        request.answered_at is not None and request.answered_at - request.arrived_at <= limit for request in requests
    ]
    return sum(timely) / len(timely)


def test_a_burst_is_answered_in_time_by_cheaper_solves() -> None:
    planned = arrive(timed(), deadline_ms=DEADLINE_MS)
    fixed = arrive(timed(), tolerance=1e-5)
    assert in_time(planned) >= 0.95
    assert in_time(fixed) < in_time(planned) / 2.85


def test_without_a_second_solve_a_burst_makes_each_solve_looser() -> None:
    driver = timed()
    alone = driver.submit([0], deadline_ms=DEADLINE_MS, escalate=False)
    driver.run()
    requests = arrive(driver, deadline_ms=DEADLINE_MS, escalate=False)
    assert in_time(requests) >= 0.9
    assert max(request.chosen[0].nfe for request in requests[BURST // 2 : BURST]) < alone.chosen[0].nfe


def test_the_requests_that_cannot_be_in_time_are_refused_and_cost_nothing() -> None:
    driver = timed()
    requests = [driver.submit([digit % 100], deadline_ms=DEADLINE_MS) for digit in range(10 * BURST)]
    at_once = [request for request in requests if request.end is End.expired]
    assert at_once, "the last requests are refused at once"
    driver.run()
    answered = [request for request in requests if request.end is End.answered]
    assert in_time(answered) == 1
    assert len(answered) >= 2 * BURST
    assert all(not request.started for request in at_once)


def test_a_request_that_the_others_of_its_iteration_would_make_late_does_not_start() -> None:
    driver = timed(slowness=10)
    driver.submit([0], deadline_ms=10 * DEADLINE_MS, priority=Priority.high)
    alone = driver.model.costs.answer(1, 2)
    request = driver.submit([1], deadline_ms=1.3e3 * alone)
    assert not driver.ended, "alone, it could be in time"
    driver.run()
    assert request.end is End.expired
    assert not request.started


@pytest.mark.parametrize("waiting", [0, 30])
def test_the_earliest_deadline_starts_first(waiting: int) -> None:
    driver = timed()
    for digit in range(waiting):
        driver.submit([digit], deadline_ms=60_000)
    late, early = (driver.submit([digit], deadline_ms=ms) for digit, ms in ((0, 50_000), (1, 2_000)))
    driver.iterate_until(lambda: early.end)
    assert driver.ended.index(early) == 0 or not waiting
    assert early.answered_at is not None
    assert late.answered_at is None or early.answered_at <= late.answered_at
    driver.run()


def test_requests_without_a_deadline_are_not_starved_by_urgent_ones() -> None:
    driver = timed(queue_seconds=0.2)
    patient = driver.submit([0])
    began = driver.clock.now
    while not patient.end and driver.clock.now - began < 1.0:
        while driver.admission.queued_seconds < 0.02:
            driver.submit([1], deadline_ms=DEADLINE_MS)
        driver.iterate()
    assert patient.end is End.answered
    assert driver.clock.now - began < 0.3


def test_a_tight_solve_that_would_be_late_is_finished_early() -> None:
    driver = timed()
    driver.submit(range(30), method="heun2", tolerance=1e-5)
    request = driver.submit([0], method="heun2", tolerance=1e-5, deadline_ms=DEADLINE_MS)
    driver.iterate_until(lambda: request.end)
    assert request.end is End.answered
    assert request.answer.outcome.tolist() == [Outcome.deadline]
    assert in_time([request]) == 1
