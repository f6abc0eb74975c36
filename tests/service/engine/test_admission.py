"""Which requests the queue admits: by the work that is done before they begin, and not by their number."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.admission import Admission
from service.engine.request import Demand, Priority
from service.errors import OverloadedError

HIGH, NORMAL, LOW = Priority


def asked(seconds: float, rows: int = 1, priority: Priority = NORMAL, caller: str = "anna") -> Demand:
    """A request whose images take some seconds together."""
    return Demand(caller, priority, rows, round(1e9 * seconds / rows))


def refused(admission: Admission, demand: Demand) -> OverloadedError:
    with pytest.raises(OverloadedError) as caught:
        admission.enter(demand)
    return caught.value


def filled(*demands: Demand, seconds: float = 2.0, threads: int = 1) -> Admission:
    """An admission with some requests in the queue."""
    admission = Admission(seconds, threads)
    for demand in demands:
        admission.enter(demand)
    return admission


# The work counts, and not the number of images.


def test_one_costly_image_counts_like_many_cheap_images() -> None:
    costly, cheap = filled(asked(1.5)), filled(asked(1.5, rows=100))
    for admission in (costly, cheap):
        assert admission.wait(asked(1.5)) == admission.queued_seconds == pytest.approx(1.5)
        assert admission.fullness(asked(1.5)) == pytest.approx(0.75)


def test_the_work_of_a_request_itself_does_not_count() -> None:
    admission = filled(asked(10))
    assert refused(admission, asked(10)).retry_after == 8
    for number in range(6):
        admission.leave(asked(10, rows=10), 1, first=number == 0)
    assert admission.queued_seconds == pytest.approx(4)
    refused(admission, asked(4.5))
    admission.leave(asked(10, rows=10), 2, first=False)
    admission.enter(asked(4.5))


def test_work_that_leaves_makes_room() -> None:
    admission = filled(asked(1.5), asked(1.5))
    refused(admission, asked(1.5))
    admission.leave(asked(1.5), 1, first=True)
    admission.enter(asked(1.5))


def test_the_measured_pace_turns_work_into_time() -> None:
    admission = filled(asked(1.5))
    for pace, wait in ((0.5, 0.75), (1.0, 1.5), (3.0, 4.5)):
        admission.pace = pace
        assert admission.wait(asked(1.5)) == pytest.approx(wait)
    assert refused(admission, asked(1.5)).retry_after == 3


def test_several_threads_work_off_the_queue_in_less_time() -> None:
    one, two = (filled(asked(1.5), asked(1.5), threads=threads) for threads in (1, 2))
    assert one.queued_seconds == 2 * two.queued_seconds
    refused(one, asked(1.5))
    two.enter(asked(1.5))


# Priorities.


def test_work_of_a_lower_priority_keeps_nobody_out() -> None:
    admission = filled(asked(50, priority=LOW))
    for priority in (NORMAL, HIGH):
        assert admission.wait(asked(50, priority=priority)) == 0
        admission.enter(asked(50, priority=priority))
    for priority in Priority:
        refused(admission, asked(50, priority=priority))


def test_work_of_a_higher_priority_is_waited_for() -> None:
    admission = filled(asked(1.5, priority=HIGH), asked(1.0))
    waits = [admission.wait(asked(1.0, priority=priority)) for priority in Priority]
    assert waits == pytest.approx([1.0, 2.5, 2.5])
    assert refused(admission, asked(1.0)).retry_after == 1


# A cheap request is not refused for costly ones, and one caller does not keep the others out.


def test_a_cheap_request_waits_for_a_costly_one_of_its_caller_for_one_turn() -> None:
    admission = filled(asked(100, rows=100))
    assert admission.wait(asked(0.01)) == pytest.approx(0.01)
    admission.enter(asked(0.01))
    refused(admission, asked(100, rows=100))


def test_a_caller_who_fills_the_queue_does_not_keep_another_caller_out() -> None:
    admission = filled(*(asked(1.0, rows=10) for _ in range(3)))
    refused(admission, asked(1.0, rows=10))
    assert admission.wait(asked(1.0, rows=10, caller="ben")) == pytest.approx(1.0)
    admission.enter(asked(1.0, rows=10, caller="ben"))


def test_each_of_many_callers_has_the_same_share_of_the_queue() -> None:
    admission = Admission(2.0)
    callers = [f"caller {number}" for number in range(10)]
    admitted = dict.fromkeys(callers, 0)
    for _ in range(100):
        for caller in callers:
            try:
                admission.enter(asked(0.01, caller=caller))
            except OverloadedError:
                continue
            admitted[caller] += 1
    assert set(admitted.values()) <= {20, 21}


def test_a_caller_with_little_work_waits_little_among_many_others() -> None:
    others = [asked(0.001, caller=f"caller {number}") for number in range(50)]
    admission = filled(asked(100), *others)
    assert admission.wait(asked(0.01, caller="ben")) == pytest.approx(0.05 + 0.01)


# A refusal.


def test_a_refusal_says_when_there_will_be_room() -> None:
    admission = filled(asked(30, rows=30))
    refusal = refused(admission, asked(30, rows=30))
    assert refusal.retry_after == 28
    admission.leave(asked(30, rows=30), refusal.retry_after, first=True)
    admission.enter(asked(30, rows=30))


def test_a_refusal_names_the_limit() -> None:
    (error,) = refused(filled(asked(3)), asked(3)).errors
    assert error.field == "queue"
    assert "by 2 s" in error.message
    assert "retry after 1 s" in error.message


def test_a_check_has_the_same_result_and_takes_no_room() -> None:
    admission = filled(asked(1.5))
    admission.check(asked(1.5))
    assert admission.rows == 1
    admission.enter(asked(1.5))
    with pytest.raises(OverloadedError):
        admission.check(asked(1.5))


DEMANDS = st.builds(
    Demand,
    st.sampled_from(["anna", "ben", "cleo"]),
    st.sampled_from(Priority),
    st.integers(1, 8),
    st.integers(1, 10**9),
)


@given(demands=st.lists(DEMANDS, max_size=30))
def test_whoever_is_admitted_begins_within_the_limit_and_nobody_waits_for_more_than_all_work(
    demands: list[Demand],
) -> None:
    admission, admitted = Admission(2.0), list[Demand]()
    for demand in demands:
        wait = admission.wait(demand)
        assert 0 <= wait <= admission.queued_seconds
        if wait <= 2.0:
            admission.enter(demand)
            admitted.append(demand)
        else:
            assert 0 <= refused(admission, demand).retry_after - (wait - 2.0) < 1
    assert admission.rows == sum(demand.rows for demand in admitted)
    for demand in admitted:
        admission.leave(demand, demand.rows, first=True)
    assert (admission.rows, admission.queued_seconds) == (0, 0)


def test_threads_may_enter_and_leave_at_the_same_time() -> None:
    admission = Admission(60)

    def come_and_go(priority: Priority) -> None:
        demand = asked(0.003, rows=3, priority=priority)
        for _ in range(2000):
            admission.enter(demand)
            admission.leave(demand, 1, first=True)
            admission.leave(demand, 2, first=False)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(come_and_go, [*Priority] * 3))
    assert (admission.rows, admission.queued_seconds) == (0, 0)
