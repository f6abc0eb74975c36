"""The load generator, against a real server."""

import socket

import numpy as np
import pytest

from benchmarks.serving.load import measure, process
from benchmarks.serving.plan import HOST, Closed, Open, Phase, Plan, arrivals
from benchmarks.serving.requests import Digits, Kind
from benchmarks.serving.results import BROKEN, UNANSWERED, summarise
from tests.benchmarks.serving.stub_server import Reply, stub_server
from tests.waiting import HANG

pytestmark = pytest.mark.system


def test_a_closed_loop_keeps_one_request_in_flight_on_each_connection(digits: Digits) -> None:
    with stub_server(lambda _: Reply(delay=0.01)) as server:
        result = measure(Plan(server.port, Closed(3, 0.3, warm_up=0.1)), digits)
    assert server.max_in_flight == 3
    assert len(server.requests) == len(result.status) > 10
    assert set(result.status) == {200}
    assert summarise(result).p50 >= 10
    assert (np.sort(result.scheduled)[3:] >= np.sort(result.finished)[:-3]).all()  # each request waits for an answer


def test_answers_are_parsed(digits: Digits) -> None:
    with stub_server() as server:
        result = measure(Plan(server.port, Closed(1, 0.1, warm_up=0)), digits)
    answers = result.answers
    assert set(answers.digit) == {7}
    assert set(answers.nfe) == {4}
    assert set(answers.rtol) == {0.1}
    assert set(answers.degraded) == {1}
    assert (answers.label == digits.labels[answers.image]).all()
    for content, image in zip(server.requests, answers.image, strict=True):
        assert content.endswith(b"\r\n\r\n" + digits.images[image].tobytes())


def test_in_an_open_loop_a_stall_counts_for_every_request_that_arrives_during_it(digits: Digits) -> None:
    stall, rate = 0.4, 200
    with stub_server(lambda number: Reply(delay=stall if number == 10 else 0), serial=True) as server:
        result = measure(Plan(server.port, Open((Phase(rate, 0.8),), warm_up=0)), digits)
    latency = result.finished - result.scheduled
    assert set(result.status) == {200}
    # Half of the requests that arrive during the stall wait for more than half of it. A generator that stops sending
    # during the stall would log only one such latency.
    assert (latency > stall / 2).sum() > rate * stall / 4
    assert summarise(result).p99 > 1e3 * stall / 2


def test_arrivals_do_not_wait_for_answers(digits: Digits) -> None:
    with stub_server(lambda _: Reply(delay=0.2)) as server:
        result = measure(Plan(server.port, Open((Phase(100, 0.3),), warm_up=0)), digits)
    due = arrivals((Phase(100, 0.3),), seed=0)
    assert server.max_in_flight > 10
    assert np.allclose(result.scheduled, due, atol=0.02)
    assert (result.sent >= result.scheduled).all()


def test_the_wait_for_a_connection_counts_as_latency(digits: Digits) -> None:
    with stub_server(lambda _: Reply(delay=0.02)) as server:
        result = measure(Plan(server.port, Open((Phase(200, 0.3),), warm_up=0, connections=1)), digits)
    assert server.max_in_flight == 1
    latency = result.finished - result.scheduled
    assert latency[-1] > 0.3  # about sixty requests of 20 ms each arrive within 300 ms
    assert result.sent[-1] - result.scheduled[-1] > 0.25


def test_a_caller_may_have_an_address_of_its_own(digits: Digits) -> None:
    for source, address in ((None, "127.0.0.1"), ("127.0.0.2", "127.0.0.2")):
        with stub_server() as server:
            measure(Plan(server.port, Closed(2, 0.1, warm_up=0), source=source), digits)
        assert server.callers == {address}


def test_statuses_and_broken_connections_are_counted(digits: Digits) -> None:
    replies = [Reply(), Reply(429, body=b""), Reply(None), Reply(503, body=b"{}"), Reply(200, body=b"nonsense")]
    with stub_server(lambda number: replies[number % 5]) as server:
        result = measure(Plan(server.port, Closed(1, 0.4, warm_up=0)), digits)
    requests = len(server.requests)
    failed = summarise(result).failed
    assert failed.keys() == {"429", "503", "broken", "malformed"}
    assert all(abs(count - requests / 5) <= 1 for count in failed.values())
    assert summarise(result).error_rate == pytest.approx(0.8, abs=0.1)


def test_a_connection_that_the_server_closes_after_an_answer_is_not_an_error(digits: Digits) -> None:
    with stub_server(lambda _: Reply(keep=False)) as server:
        result = measure(Plan(server.port, Closed(2, 0.2, warm_up=0)), digits)
    assert len(result.status) > 4
    assert set(result.status) == {200}


def test_an_answer_that_is_not_http_breaks_the_connection(digits: Digits) -> None:
    with stub_server(lambda _: Reply(999999)) as server:
        result = measure(Plan(server.port, Closed(1, 0.1, warm_up=0)), digits)
    assert set(result.status) == {BROKEN}


def test_an_absent_server_gives_errors_and_is_not_flooded(digits: Digits) -> None:
    for load in (Closed(2, 0.2, warm_up=0), Open((Phase(50, 0.2),), warm_up=0)):
        with socket.socket() as closed:
            closed.bind((HOST, 0))  # the socket does not listen
            result = measure(Plan(closed.getsockname()[1], load), digits)
        assert set(result.status) == {BROKEN}
        assert len(result.status) < 100


def test_a_server_that_never_answers_does_not_block_the_generator(digits: Digits) -> None:
    for load in (Closed(2, 0.1, warm_up=0), Open((Phase(50, 0.1),), warm_up=0, connections=2)):
        with stub_server(lambda _: Reply(delay=60)) as server:
            result = measure(Plan(server.port, load, patience=0.2), digits)
        assert set(result.status) == {UNANSWERED}
        assert result.finished.max() < 60, "the generator waits for no answer"


def test_kinds_are_mixed_and_summarised_separately(digits: Digits) -> None:
    kinds = (Kind("loose", "tolerance=1e-1", share=0.9), Kind("tight", "tolerance=1e-5", share=0.1))
    with stub_server() as server:
        result = measure(Plan(server.port, Open((Phase(1000, 0.5),), warm_up=0), kinds), digits)
    loose, tight = summarise(result, "loose"), summarise(result, "tight")
    assert loose.requests + tight.requests == len(server.requests)
    assert 0.03 < tight.requests / len(server.requests) < 0.2
    assert sum(b"tolerance=1e-5 " in content for content in server.requests) == tight.requests


def test_in_a_closed_loop_each_kind_has_its_share_of_the_connections(digits: Digits) -> None:
    kinds = (Kind("loose", "tolerance=1e-1", share=6), Kind("tight", "tolerance=1e-5", share=1))
    with stub_server(lambda _: Reply(delay=0.02)) as server:
        result = measure(Plan(server.port, Closed(7, 0.2, warm_up=0)), digits)
        assert set(result.kind) == {0}
        result = measure(Plan(server.port, Closed(7, 0.2, warm_up=0), kinds), digits)
    loads = zip(result.kind, result.scheduled, result.finished, strict=True)
    spans = [(kind, began, ended) for kind, began, ended in loads]
    for _, moment, _ in spans:
        in_flight = [kind for kind, began, ended in spans if began <= moment < ended]
        assert in_flight.count(1) <= 1
        assert in_flight.count(0) <= 6


def test_the_generator_runs_in_a_separate_process_and_reports_its_own_cost(digits: Digits) -> None:
    with stub_server() as server, process() as pool:
        result = pool.submit(measure, Plan(server.port, Closed(1, 0.2)), digits).result(timeout=HANG)
    assert 0 < result.cpu_microseconds_per_request < 1e4
