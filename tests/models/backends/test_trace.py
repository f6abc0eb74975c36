"""A trace records every attempted step of a solve and does not change its answer."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from models.backends import flight
from models.backends.answer import Answer
from models.backends.protocol import Backend
from models.backends.trace import Trace
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome, solve
from tests.digits import load_test_set
from tests.models.backends.shipped import backend_of

DIGITS = load_test_set()[0][:8]
CAPACITY = 6
SOLVERS = {
    "euler": SolverSettings(method="euler", steps=5),
    "rk4": SolverSettings(method="rk4", steps=3),
    "heun2": SolverSettings.adaptive("heun2", 1e-3),
    "bosh3": SolverSettings.adaptive("bosh3", 1e-4),
    "dopri5": SolverSettings.adaptive("dopri5", 1e-5),
}

every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def solved_in_flight(
    backend: Backend, solver: SolverSettings, traced: set[int], digits: int = len(DIGITS), max_nfe: int | None = None
) -> tuple[dict[int, Answer], dict[int, Trace]]:
    """Solve digits in one flight and return the answers and the traces.

    One digit joins before each attempt, so the rows of the flight are at different times.
    """
    flight, answers = backend.flight(solver.method, CAPACITY), dict[int, Answer]()
    traces = {digit: Trace() for digit in traced}
    queue, digit_of_slot = list(range(digits)), list[int]()
    while queue or digit_of_slot:
        if queue and len(digit_of_slot) < CAPACITY:
            digit = queue.pop(0)
            flight.join(DIGITS[digit : digit + 1], [solver.arguments], [max_nfe], [traces.get(digit)])
            digit_of_slot.append(digit)
        if slots := flight.attempt():
            answer = flight.leave(slots)
            for row, slot in enumerate(slots):
                answers[digit_of_slot[slot]] = Answer._make(column[row] for column in answer)
            for slot in reversed(slots):
                digit_of_slot[slot] = digit_of_slot[-1]
                digit_of_slot.pop()
    assert not flight.traced
    return answers, traces


@every_solver
@pytest.mark.parametrize("traced", [{0}, {3, 6}, set(range(8))], ids=["the first", "two", "all"])
def test_tracing_does_not_change_any_bit_of_any_answer(
    backend: Backend, solver: SolverSettings, traced: set[int]
) -> None:
    expected, _ = solved_in_flight(backend, solver, set())
    answers, _ = solved_in_flight(backend, solver, traced)
    for digit, answer in answers.items():
        for name in Answer._fields:
            assert_array_equal(getattr(answer, name), getattr(expected[digit], name), err_msg=name)


@every_solver
def test_a_trace_agrees_with_its_answer(backend: Backend, solver: SolverSettings) -> None:
    answers, traces = solved_in_flight(backend, solver, {1, 4, 7})
    for digit, trace in traces.items():
        answer, accepted = answers[digit], [attempt for attempt in trace.attempts if attempt.accepted]
        assert len(trace.attempts) == answer.steps
        assert len(trace.attempts) - len(accepted) == answer.rejected
        assert np.cumsum([0, *(attempt.error for attempt in accepted)], dtype=np.float32)[-1] == answer.error_estimate
        assert_array_equal(trace.depth[-1].logits, answer.logits)
        assert [reading.t for reading in trace.depth[:-1]] == [attempt.t for attempt in accepted]
        assert trace.depth[-1].t == 1
        for reading, attempt, after in zip(trace.depth, accepted, trace.depth[1:], strict=False):
            assert attempt.size == pytest.approx(after.t - reading.t, abs=1e-6)
        assert all(after.size < before.size for before, after in pairwise(trace.attempts) if not before.accepted)


def test_a_trace_contains_the_mean_of_each_channel_of_the_state(backend: Backend) -> None:
    _, traces = solved_in_flight(backend, SolverSettings(method="euler", steps=1), {0}, digits=1)
    begin, end = (reading.channels for reading in traces[0].depth)
    states = np.asarray(backend_of("onnxruntime").stem(DIGITS[:1]))
    assert begin == pytest.approx(states[0].mean(axis=(1, 2)), abs=1e-4)
    assert np.abs(end - begin).max() > 0.01


@every_solver
def test_a_trace_equals_the_observed_solve_of_the_image_alone(solver: SolverSettings) -> None:
    backend = backend_of("onnxruntime")
    _, traces = solved_in_flight(backend, solver, set(range(8)))
    for digit, trace in traces.items():
        expected = []
        solve(
            backend.step(solver.method),
            backend.stem(DIGITS[digit : digit + 1]),
            observe=lambda _, t, h, tried: expected.append((t[0], tried.error[0], tried.accepted[0])),  # noqa: B023
            **solver.arguments._asdict(),
        )
        assert [(attempt.t, attempt.error, attempt.accepted) for attempt in trace.attempts] == expected


def test_a_trace_contains_rejected_steps(backend: Backend) -> None:
    _, traces = solved_in_flight(backend, SolverSettings.adaptive("dopri5", 1e-5), set(range(8)))
    assert any(not attempt.accepted for trace in traces.values() for attempt in trace.attempts)


def test_a_trace_contains_every_attempt_of_a_long_solve(backend: Backend) -> None:
    answers, traces = solved_in_flight(backend, SolverSettings.adaptive("heun2", 1e-6), {0}, digits=1)
    assert len(traces[0].attempts) == answers[0].steps > 200


def test_the_trace_of_a_solve_that_is_given_up_ends_at_the_last_state(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "MAX_STEPS", 100)
    too_tight = SolverSettings.model_construct(method="heun2", rtol=1e-9, atol=1e-9)
    answers, traces = solved_in_flight(backend, too_tight, {0}, digits=1)
    assert answers[0].outcome == Outcome.max_steps
    assert len(traces[0].attempts) == 100
    assert 0 < traces[0].depth[-1].t < 1
    assert_array_equal(traces[0].depth[-1].logits, answers[0].logits)


def test_a_trace_contains_the_size_of_a_forced_last_step(backend: Backend) -> None:
    answers, traces = solved_in_flight(backend, SolverSettings.adaptive("heun2", 1e-4), {0}, digits=1, max_nfe=6)
    assert answers[0].outcome == Outcome.max_nfe
    last = traces[0].attempts[-1]
    assert (last.size, last.accepted, traces[0].depth[-1].t) == (1 - last.t, True, 1)


def test_dropping_a_row_drops_its_trace(backend: Backend) -> None:
    solver, flight = SOLVERS["heun2"], backend.flight("heun2", 3)
    traces = [Trace(), Trace(), Trace()]
    flight.join(DIGITS[:3], [solver.arguments] * 3, [None] * 3, traces)
    flight.attempt()
    flight.drop([0])  # the last row moves into the freed slot
    flight.attempt()
    assert [len(trace.attempts) for trace in traces] == [1, 2, 2]
    flight.drop([0, 1])
    assert not flight.traced
