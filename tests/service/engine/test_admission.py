"""How many images the queue admits."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.admission import Admission
from service.engine.request import Priority
from service.errors import OverloadedError

HIGH, NORMAL, LOW = Priority


def refused(admission: Admission, rows: int, priority: Priority = NORMAL) -> OverloadedError:
    with pytest.raises(OverloadedError) as caught:
        admission.enter(rows, priority)
    return caught.value


def test_one_request_of_many_images_counts_like_many_requests() -> None:
    one, many = Admission(8), Admission(8)
    one.enter(8, NORMAL)
    for _ in range(8):
        many.enter(1, NORMAL)
    for admission in (one, many):
        assert admission.waiting() == 8
        assert admission.fullness(NORMAL) == 1
        assert not admission.has_room(1, NORMAL)
        refused(admission, 1)


def test_a_request_is_admitted_whole_or_not_at_all() -> None:
    admission = Admission(8)
    admission.enter(5, NORMAL)
    refused(admission, 4)
    assert admission.waiting() == 5
    admission.enter(3, NORMAL)


def test_images_that_leave_make_room() -> None:
    admission = Admission(2)
    admission.enter(2, LOW)
    admission.leave(1, LOW)
    assert admission.has_room(1, LOW)
    assert not admission.has_room(2, LOW)
    admission.enter(1, LOW)
    refused(admission, 1, LOW)


def test_images_of_a_lower_priority_take_no_room() -> None:
    admission = Admission(4)
    admission.enter(4, LOW)
    for priority in (NORMAL, HIGH):
        assert admission.has_room(1, priority)
        assert admission.fullness(priority) == 0
        admission.enter(4, priority)
    for priority in Priority:
        refused(admission, 1, priority)


def test_images_of_a_higher_priority_take_room() -> None:
    admission = Admission(4)
    admission.enter(3, HIGH)
    assert [admission.waiting(priority) for priority in Priority] == [3, 3, 3]
    admission.enter(1, NORMAL)
    refused(admission, 1, LOW)
    admission.enter(1, HIGH)
    refused(admission, 1, HIGH)


def test_a_refusal_tells_when_to_retry() -> None:
    admission = Admission(10)
    admission.enter(10, NORMAL)
    waits = []
    for seconds in (0.0, 0.01, 0.25, 3.0):
        admission.seconds_per_row = seconds
        waits.append(refused(admission, 1).retry_after)
    assert waits == [1, 1, 3, 30]


def test_a_refusal_names_the_limit() -> None:
    admission = Admission(2000)
    admission.enter(1500, NORMAL)
    (error,) = refused(admission, 501).errors
    assert error.field == "queue"
    assert "2,000 images" in error.message


def test_only_the_images_ahead_count_for_the_time_to_retry() -> None:
    admission = Admission(10)
    admission.seconds_per_row = 1.0
    admission.enter(10, LOW)
    admission.enter(7, HIGH)
    assert refused(admission, 4, HIGH).retry_after == 7


@given(asked=st.lists(st.tuples(st.integers(1, 8), st.sampled_from(Priority)), max_size=30))
def test_no_priority_has_more_images_than_the_queue_holds(asked: list[tuple[int, Priority]]) -> None:
    admission = Admission(8)
    for rows, priority in asked:
        before = admission.waiting(priority)
        try:
            admission.enter(rows, priority)
        except OverloadedError:
            assert before + rows > 8
        else:
            assert admission.waiting(priority) == before + rows <= 8
        assert all(a <= b for a, b in pairwise(admission.waiting(priority) for priority in Priority))


def test_threads_may_enter_and_leave_at_the_same_time() -> None:
    admission = Admission(64)

    def come_and_go(priority: Priority) -> None:
        for _ in range(2000):
            admission.enter(3, priority)
            admission.leave(1, priority)
            admission.leave(2, priority)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, [*Priority] * 3))
    assert [admission.waiting(priority) for priority in Priority] == [0, 0, 0]


def test_several_threads_work_off_the_queue_in_less_time() -> None:
    one, two = Admission(8), Admission(8, threads=2)
    for admission in (one, two):
        admission.update_estimate(4.0)
        admission.enter(8, Priority.normal)
    assert (refused(one, 1).retry_after, refused(two, 1).retry_after) == (32, 16)
