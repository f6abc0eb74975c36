"""The summary of a load."""

from collections import Counter
from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from benchmarks.serving.forms import predictions
from benchmarks.serving.requests import Kind
from benchmarks.serving.results import BROKEN, Answers, Result, median_of, percentiles, read_answers, summarise


def result(latency: list[float], status: list[int], images: int = 1, digit: int = 0) -> Result:
    """One request every tenth of a second, with these latencies in seconds; every label is 0."""
    scheduled = np.arange(len(latency)) / 10
    answered = np.flatnonzero(np.array(status) == 200)
    nfe = np.full(len(answered), 4.0)
    answers = Answers(answered, answered, np.full_like(answered, digit), np.zeros_like(answered), nfe, nfe, nfe * 0)
    finished = scheduled + np.array(latency)
    kind = np.zeros(len(latency), np.int64)
    return Result(
        (Kind(images=images),),
        kind,
        scheduled,
        scheduled,
        finished,
        np.array(status),
        answers,
        0,
        len(latency) / 10,
        1.0,
    )


def test_percentiles_interpolate_between_the_values() -> None:
    assert percentiles(np.arange(1001.0), 50, 99, 99.9) == pytest.approx([500, 990, 999])
    assert isnan(percentiles(np.array([]), 50)[0])


def test_latencies_of_answers_and_of_refusals_are_separate() -> None:
    summary = summarise(result([0.01, 0.02, 0.03, 0.001, 9.0], [200, 200, 200, 429, BROKEN]))
    assert summary.p50 == pytest.approx(20)
    assert summary.refused_p50 == pytest.approx(1)
    assert summary.failed == {"429": 1, "broken": 1}
    assert (summary.error_rate, summary.refused) == (0.4, 0.2)
    assert summary.throughput == pytest.approx(6)
    assert summary.nfe == 4


def test_goodput_counts_answers_within_the_bound() -> None:
    summary = summarise(result([0.01, 0.02, 0.03, 0.15, 0.01], [200] * 5), bound=25)
    assert summary.goodput == pytest.approx(6)
    assert summary.throughput == pytest.approx(10)


def test_throughput_counts_images_answered_within_the_window() -> None:
    summary = summarise(result([0.01, 0.01, 0.01, 0.5], [200] * 4, images=8))
    assert summary.throughput == pytest.approx(3 * 8 / 0.4)
    assert summary.requests == 4


def test_a_window_counts_the_requests_that_arrive_in_it() -> None:
    summary = summarise(result([0.01, 0.02, 0.03, 0.04], [200] * 4), since=0.1, until=0.3)
    assert summary.requests == summary.rows == 2
    assert summary.p50 == pytest.approx(25)


def test_repetitions_are_combined_by_sum_or_median() -> None:
    one = summarise(result([0.01, 0.02], [200, 429]))
    summary = median_of([one, replace(one, p50=20.0, wrong=1), replace(one, p50=99.0, failed=Counter())])
    assert summary.p50 == 20
    assert (summary.requests, summary.rows, summary.wrong) == (6, 3, 1)
    assert summary.failed == {"429": 2}
    assert summary.test_error == pytest.approx(1 / 3)


def test_an_answer_for_too_few_images_is_malformed() -> None:
    status = np.array([200, 200])
    bodies = [b'{"predictions": [{"digit": 3}]}', b'{"predictions": []}']
    answers = read_answers([predictions] * 2, bodies, status, [np.array([1]), np.array([2])], np.array([0, 3, 0]))
    assert status.tolist() == [200, -3]
    assert (answers.image.tolist(), answers.digit.tolist(), answers.label.tolist()) == ([1], [3], [3])
    assert isnan(answers.nfe[0])


def test_the_answers_of_a_floor_are_not_read() -> None:
    status = np.array([200])
    answers = read_answers([None], [b"anything"], status, [np.array([0])], np.array([0]))
    assert status.tolist() == [200]
    assert len(answers.digit) == 0


def test_without_answers_the_summary_has_no_values() -> None:
    summary = summarise(result([0.01], [BROKEN]))
    assert isnan(summary.p99)
    assert isnan(summary.test_error)
    assert summary.throughput == 0


def test_the_rate_counts_every_answer_until_the_last_one() -> None:
    assert result([0.01, 0.01, 0.01, 0.5, 9.0], [200] * 4 + [429]).rate == pytest.approx(4 / 0.8)
    assert result([0.01], [429]).rate == 0
