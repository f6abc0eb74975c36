"""The load generator, against a real server."""

import socket

import numpy as np
import pytest

from benchmarks.serving.load import measure, process
from benchmarks.serving.plan import HOST, Closed, Open, Phase, Plan, arrivals
from benchmarks.serving.questions import Digits, Kind
from benchmarks.serving.results import BROKEN, UNANSWERED, summarise
from tests.benchmarks.serving.little import Reply, little
from tests.waiting import HANG


def test_a_closed_loop_has_a_request_in_flight_on_each_connection_and_no_more(digits: Digits) -> None:
    with little(lambda _: Reply(delay=0.01)) as server:
        result = measure(Plan(server.port, Closed(3, 0.3, warm_up=0.1)), digits)
    assert server.most_in_flight == 3
    assert len(server.asked) == len(result.status) > 10
    assert set(result.status) == {200}
    assert summarise(result).p50 >= 10
    assert (np.sort(result.scheduled)[3:] >= np.sort(result.finished)[:-3]).all()  # each waits for an answer


def test_what_a_server_answers_is_read(digits: Digits) -> None:
    with little() as server:
        result = measure(Plan(server.port, Closed(1, 0.1, warm_up=0)), digits)
    rows = result.rows
    assert set(rows.digit) == {7}
    assert set(rows.nfe) == {4}
    assert set(rows.rtol) == {0.1}
    assert set(rows.degraded) == {1}
    assert (rows.label == digits.labels[rows.image]).all()
    for content, image in zip(server.asked, rows.image, strict=True):
        assert content.endswith(b"\r\n\r\n" + digits.images[image].tobytes())


def test_in_an_open_loop_a_stall_is_in_the_latency_of_all_that_arrives_meanwhile(digits: Digits) -> None:
    stall, rate = 0.4, 200
    with little(lambda number: Reply(delay=stall if number == 10 else 0), serial=True) as server:
        result = measure(Plan(server.port, Open((Phase(rate, 0.8),), warm_up=0)), digits)
    latency = result.finished - result.scheduled
    assert set(result.status) == {200}
    # Half of what arrives during the stall waits for more than half of it; a generator that waits too would see one.
    assert (latency > stall / 2).sum() > rate * stall / 4
    assert summarise(result).p99 > 1e3 * stall / 2


def test_arrivals_do_not_wait_for_answers(digits: Digits) -> None:
    with little(lambda _: Reply(delay=0.2)) as server:
        result = measure(Plan(server.port, Open((Phase(100, 0.3),), warm_up=0)), digits)
    due = arrivals((Phase(100, 0.3),), seed=0)
    assert server.most_in_flight > 10
    assert np.allclose(result.scheduled, due, atol=0.02)
    assert (result.sent >= result.scheduled).all()


def test_the_wait_for_a_connection_counts(digits: Digits) -> None:
    with little(lambda _: Reply(delay=0.02)) as server:
        result = measure(Plan(server.port, Open((Phase(200, 0.3),), warm_up=0, connections=1)), digits)
    assert server.most_in_flight == 1
    latency = result.finished - result.scheduled
    assert latency[-1] > 0.3  # of some sixty requests that take 20 ms each, and came in 300
    assert result.sent[-1] - result.scheduled[-1] > 0.25


def test_statuses_and_broken_connections_are_counted(digits: Digits) -> None:
    replies = [Reply(), Reply(429, body=b""), Reply(None), Reply(503, body=b"{}"), Reply(200, body=b"nonsense")]
    with little(lambda number: replies[number % 5]) as server:
        result = measure(Plan(server.port, Closed(1, 0.4, warm_up=0)), digits)
    asked = len(server.asked)
    failed = summarise(result).failed
    assert failed.keys() == {"429", "503", "broken", "malformed"}
    assert all(abs(count - asked / 5) <= 1 for count in failed.values())
    assert summarise(result).error_rate == pytest.approx(0.8, abs=0.1)


def test_a_connection_that_the_server_closes_after_its_answer_is_no_error(digits: Digits) -> None:
    with little(lambda _: Reply(keep=False)) as server:
        result = measure(Plan(server.port, Closed(2, 0.2, warm_up=0)), digits)
    assert len(result.status) > 4
    assert set(result.status) == {200}


def test_what_is_no_http_breaks_the_connection(digits: Digits) -> None:
    with little(lambda _: Reply(999999)) as server:
        result = measure(Plan(server.port, Closed(1, 0.1, warm_up=0)), digits)
    assert set(result.status) == {BROKEN}


def test_a_server_that_is_not_there_is_an_error_and_not_hammered(digits: Digits) -> None:
    for load in (Closed(2, 0.2, warm_up=0), Open((Phase(50, 0.2),), warm_up=0)):
        result = measure(Plan(_closed_port(), load), digits)
        assert set(result.status) == {BROKEN}
        assert len(result.status) < 100


def test_a_server_that_never_answers_holds_up_nothing(digits: Digits) -> None:
    for load in (Closed(2, 0.1, warm_up=0), Open((Phase(50, 0.1),), warm_up=0, connections=2)):
        with little(lambda _: Reply(delay=60)) as server:
            result = measure(Plan(server.port, load, patience=0.2), digits)
        assert set(result.status) == {UNANSWERED}
        assert result.finished.max() < 2


def test_kinds_are_mixed_and_told_apart(digits: Digits) -> None:
    kinds = (Kind("loose", "tolerance=1e-1", share=0.9), Kind("tight", "tolerance=1e-5", share=0.1))
    with little() as server:
        result = measure(Plan(server.port, Open((Phase(1000, 0.5),), warm_up=0), kinds), digits)
    loose, tight = summarise(result, "loose"), summarise(result, "tight")
    assert loose.requests + tight.requests == len(server.asked)
    assert 0.03 < tight.requests / len(server.asked) < 0.2
    assert sum(b"tolerance=1e-5 " in content for content in server.asked) == tight.requests


def test_it_runs_in_a_process_of_its_own_and_says_what_it_costs(digits: Digits) -> None:
    with little() as server, process() as pool:
        result = pool.submit(measure, Plan(server.port, Closed(1, 0.2)), digits).result(timeout=HANG)
    assert 0 < result.cpu_microseconds_per_request < 1e4


def test_arrivals_come_at_the_rates_of_their_phases() -> None:
    due = arrivals((Phase(1000, 10), Phase(100, 10)), seed=1)
    assert (np.diff(due) >= 0).all()
    assert due[-1] < 20
    first = (due < 10).sum()
    assert first == pytest.approx(10_000, rel=0.05)
    assert len(due) - first == pytest.approx(1_000, rel=0.15)
    gaps = np.diff(due[:first])
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # as in no other process of even rate


def _closed_port() -> int:
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
