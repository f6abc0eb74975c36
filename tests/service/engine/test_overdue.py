"""Requests that other work delays for longer than the queue promises, on a device with known costs.

The clock advances by the costs of the device, and the arrivals come from a seed. So each run gives the same result.
"""

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

from service.engine.request import End, EngineRequest, Priority
from service.errors import OverloadedError
from tests.service.engine.driving import DIGITS, Driver, timed

# One request at a time.

FIELDS: dict[str, Any] = {"tolerance": 1e-3}
MANY = range(60)
"""More digits than start at once."""

QUEUE_SECONDS = 0.4


@pytest.fixture
def driver() -> Driver:
    """The engine with a full batch of requests of high priority, so that no other request starts."""
    driver = timed(queue_seconds=60)
    driver.submit(MANY, priority=Priority.high, **FIELDS)
    driver.iterate()
    driver.admission.seconds = 1.0
    return driver


def queued(driver: Driver, digit: int = 0, **fields: Any) -> EngineRequest:
    """A request that waits in the queue. It is due after a second."""
    request = driver.request([digit], **FIELDS, **fields)
    driver.admission.enter(request.demand)
    driver.scheduler.submit(request)
    return request


def pause(driver: Driver) -> None:
    """Let more time pass than the queue promises."""
    driver.clock.now += 2.0


def test_an_overdue_request_is_refused_at_its_turn_and_costs_nothing(driver: Driver) -> None:
    late = queued(driver)
    pause(driver)
    in_time = queued(driver)
    driver.run()
    assert (late.end, late.started) == (End.overdue, 0)
    assert in_time.end is End.answered
    assert driver.ended.index(late) < driver.ended.index(in_time), "both ends are reported"


def test_an_overdue_request_is_answered_if_no_other_request_of_its_priority_waits(driver: Driver) -> None:
    """To refuse it would help nobody."""
    late = queued(driver)
    other = queued(driver, priority=Priority.low)
    pause(driver)
    driver.run()
    assert (late.end, other.end) == (End.answered, End.answered)


def test_of_two_overdue_requests_one_is_answered(driver: Driver) -> None:
    late = [queued(driver, digit) for digit in range(2)]
    pause(driver)
    driver.run()
    assert [request.end for request in late] == [End.overdue, End.answered]


def test_a_request_whose_first_image_has_started_is_answered() -> None:
    driver = timed(queue_seconds=1.0)
    large = driver.submit(MANY, **FIELDS)
    driver.iterate_until(lambda: large.started)
    assert large.queued
    pause(driver)
    queued(driver)
    driver.run()
    assert large.end is End.answered


def test_a_deadline_counts_instead_of_the_time_that_the_queue_promises(driver: Driver) -> None:
    long, short = (queued(driver, deadline_ms=ms) for ms in (60_000, 1_500))
    pause(driver)
    queued(driver)
    driver.run()
    assert (long.end, short.end) == (End.answered, End.expired)


def test_an_overdue_request_is_refused_before_its_turn_while_requests_of_higher_priority_keep_coming() -> None:
    driver = timed(queue_seconds=QUEUE_SECONDS)
    low = driver.submit([0], priority=Priority.low, **FIELDS)

    def come() -> None:
        while driver.admission.rows <= len(MANY):
            driver.submit([1], priority=Priority.high, **FIELDS)

    come()
    while driver.clock.now <= low.due:
        driver.iterate()
        assert (low.end, low.started) == (None, 0), "it waits"
        come()
    driver.iterate()
    assert low.end is End.overdue


# Ten times the capacity by mixed requests of one caller.

TIGHT: dict[str, Any] = {"tolerance": 1e-5}


class Kind(NamedTuple):
    """A kind of request, with its share of the requests."""

    share: int
    rows: int
    fields: dict[str, Any]


KINDS = (Kind(24, 1, {}), Kind(4, 1, TIGHT), Kind(3, 8, {}), Kind(1, 4, TIGHT))
"""Single images and lists, cheap and costly. Each kind has about as much work as the others."""

FLOOD = 10.0
"""Expected seconds of work that arrive in a second."""

SECONDS = 2 * QUEUE_SECONDS
"""Seconds in which requests arrive."""


@pytest.fixture(scope="module")
def flood() -> list[EngineRequest]:
    """The requests that were admitted, after all of them have ended."""
    driver, admitted = timed(queue_seconds=QUEUE_SECONDS), list[EngineRequest]()
    dice, arrival = np.random.default_rng(0), driver.clock.now
    shares = np.array([kind.share for kind in KINDS]) / sum(kind.share for kind in KINDS)
    work = [driver.request(range(kind.rows), **kind.fields).demand.seconds for kind in KINDS]
    rate = FLOOD / float(shares @ work)
    for gap in dice.exponential(1 / rate, round(rate * SECONDS)):
        arrival += gap
        while driver.clock.now < arrival and not driver.scheduler.idle:
            driver.iterate()
        driver.clock.now = max(driver.clock.now, arrival)
        kind = KINDS[dice.choice(len(KINDS), p=shares)]
        request = driver.request(dice.integers(0, len(DIGITS), kind.rows).tolist(), **kind.fields)
        try:
            driver.admission.enter(request.demand)
        except OverloadedError:
            continue
        driver.scheduler.submit(request)
        admitted.append(request)
    driver.run()
    return admitted


def test_in_a_flood_all_answered_requests_start_in_the_time_that_the_queue_promises(flood: list[EngineRequest]) -> None:
    """Cheap requests are admitted again and again. They take turns with the costly ones that were admitted earlier."""
    answered = [request for request in flood if request.end is End.answered]
    waits = [request.started_at - request.arrived_at for request in answered if request.started_at is not None]
    assert len(waits) == len(answered)
    assert max(waits) <= QUEUE_SECONDS
    assert {len(request.images) for request in answered} == {kind.rows for kind in KINDS}


def test_in_a_flood_the_other_admitted_requests_are_refused_before_they_start(flood: list[EngineRequest]) -> None:
    ends = Counter(request.end for request in flood)
    assert ends.keys() == {End.answered, End.overdue}
    assert not any(request.started for request in flood if request.end is End.overdue)


def test_a_flood_does_not_lower_the_work_that_is_done_in_time(flood: list[EngineRequest]) -> None:
    """The expected work is that of images computed one by one. In batches, they take less time."""
    until = flood[0].arrived_at + SECONDS
    done = [request for request in flood if request.answered_at is not None and request.answered_at < until]
    assert sum(request.demand.seconds for request in done) > SECONDS
