"""What a load amounts to."""

from collections import Counter
from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from benchmarks.serving.questions import Kind
from benchmarks.serving.results import BROKEN, Result, Rows, middle, paired, percentiles, read_rows, summarise


def result(latency: list[float], status: list[int], images: int = 1, digit: int = 0) -> Result:
    """A request each tenth of a second, with these latencies in seconds; every truth is 0."""
    scheduled = np.arange(len(latency)) / 10
    answered = np.flatnonzero(np.array(status) == 200)
    nfe = np.full(len(answered), 4.0)
    rows = Rows(answered, answered, np.full_like(answered, digit), np.zeros_like(answered), nfe, nfe, nfe * 0)
    finished = scheduled + np.array(latency)
    kind = np.zeros(len(latency), np.int64)
    return Result(
        (Kind(images=images),), kind, scheduled, scheduled, finished, np.array(status), rows, 0, len(latency) / 10, 1.0
    )


def test_percentiles_are_those_of_the_values() -> None:
    assert percentiles(np.arange(1001.0), 50, 99, 99.9) == pytest.approx([500, 990, 999])
    assert isnan(percentiles(np.array([]), 50)[0])


def test_latencies_are_of_answers_and_those_of_refusals_stand_apart() -> None:
    told = summarise(result([0.01, 0.02, 0.03, 0.001, 9.0], [200, 200, 200, 429, BROKEN]))
    assert told.p50 == pytest.approx(20)
    assert told.refused_p50 == pytest.approx(1)
    assert told.failed == {"429": 1, "broken": 1}
    assert (told.error_rate, told.refused) == (0.4, 0.2)
    assert told.throughput == pytest.approx(6)
    assert told.nfe == 4


def test_goodput_is_of_answers_within_the_bound() -> None:
    told = summarise(result([0.01, 0.02, 0.03, 0.15, 0.01], [200] * 5), bound=25)
    assert told.goodput == pytest.approx(6)
    assert told.throughput == pytest.approx(10)


def test_throughput_is_of_images_that_come_within_the_window() -> None:
    told = summarise(result([0.01, 0.01, 0.01, 0.5], [200] * 4, images=8))
    assert told.throughput == pytest.approx(3 * 8 / 0.4)
    assert told.requests == 4


def test_a_window_has_what_is_due_in_it() -> None:
    told = summarise(result([0.01, 0.02, 0.03, 0.04], [200] * 4), since=0.1, until=0.3)
    assert told.requests == told.rows == 2
    assert told.p50 == pytest.approx(25)


def test_repetitions_are_added_up_or_their_median_taken() -> None:
    one = summarise(result([0.01, 0.02], [200, 429]))
    told = middle([one, replace(one, p50=20.0, wrong=1), replace(one, p50=99.0, failed=Counter())])
    assert told.p50 == 20
    assert (told.requests, told.rows, told.wrong) == (6, 3, 1)
    assert told.failed == {"429": 2}
    assert told.test_error == pytest.approx(1 / 3)


def test_two_servers_are_compared_on_the_images_that_both_answered() -> None:
    right, wrong = result([0.01] * 3, [200, 200, 429]), result([0.01] * 3, [429, 200, 200], digit=5)
    assert paired([right], [wrong]) == (0, 1, 1)


def test_an_answer_for_too_few_images_cannot_be_read() -> None:
    status = np.array([200, 200])
    bodies = [b'{"predictions": [{"digit": 3}]}', b'{"predictions": []}']
    rows = read_rows(bodies, status, [np.array([1]), np.array([2])], np.array([0, 3, 0]))
    assert status.tolist() == [200, -3]
    assert (rows.image.tolist(), rows.digit.tolist(), rows.label.tolist()) == ([1], [3], [3])
    assert isnan(rows.nfe[0])


def test_nothing_answered_tells_nothing() -> None:
    told = summarise(result([0.01], [BROKEN]))
    assert isnan(told.p99)
    assert isnan(told.test_error)
    assert told.throughput == 0
