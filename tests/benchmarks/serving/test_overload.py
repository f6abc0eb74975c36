"""The test errors under overload: only degraded answers count, and their images are solved strictly."""

from dataclasses import replace
from math import isnan

import numpy as np

from benchmarks.serving.overload import Errors, degraded_answers, errors
from benchmarks.serving.results import Answers, Integers
from tests.benchmarks.serving.test_results import result


def answers(images: list[int], digits: list[int]) -> Answers:
    """Degraded answers. Every label is 0."""
    zeros, ones = np.zeros(len(images), np.int64), np.ones(len(images))
    return Answers(np.arange(len(images)), np.array(images, np.int64), np.array(digits, np.int64), zeros, *[ones] * 3)


def test_only_degraded_answers_to_requests_of_the_overload_count() -> None:
    whole = result([0.01, 9.0, 0.01, 0.01, 0.01], [200] * 5)  # a request every tenth of a second
    degraded = np.array([1, 1, 0, 1, 1.0])
    load = replace(whole, since=0.05, answers=whole.answers._replace(degraded=degraded))
    assert degraded_answers(load, until=0.35).image.tolist() == [1, 3]


def test_an_answer_that_does_not_say_whether_it_is_degraded_does_not_count() -> None:
    whole = result([0.01], [200])
    load = replace(whole, answers=whole.answers._replace(degraded=np.array([np.nan])))
    assert degraded_answers(load, until=1).image.tolist() == []


def test_the_errors_are_those_of_the_same_images_in_all_rounds() -> None:
    solved = list[int]()

    def solve(images: Integers) -> Integers:
        """The strict solve reads only image 9 wrongly."""
        solved.extend(images.tolist())
        return np.where(images == 9, 5, 0)

    rounds = [answers([7, 9, 3, 9], [0, 0, 2, 0]), answers([], []), answers([9, 7, 1, 2], [0, 2, 0, 0])]
    found = errors(rounds, solve)
    assert found == Errors(degraded=2 / 8, strict=3 / 8)
    assert found.difference == 1 / 8
    assert solved == [1, 2, 3, 7, 9]


def test_without_degraded_answers_nothing_is_solved() -> None:
    def solve(images: Integers) -> Integers:
        raise AssertionError(images)

    assert all(isnan(each) for each in errors([answers([], [])], solve))
