"""Flights: a row gets the same answer as alone, whichever other rows join, leave or are dropped."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from models import artifact as artifacts
from models.artifact import newest
from models.backends.answer import Answer
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.backends.torch import TorchBackend, load_network
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import MAX_STEPS, Outcome
from tests.examples import examples
from tests.models.backends.shipped import backend_of
from tests.models.backends.tracking import CAPACITY, DIGITS, TrackedFlight
from tests.serving import FITTED

ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]

every_method = pytest.mark.parametrize("method", METHODS)
every_adaptive_method = pytest.mark.parametrize("method", ADAPTIVE)
every_fixed_step_method = pytest.mark.parametrize("method", FIXED)


def alone(backend: Backend, digit: int, solver: SolverSettings | None) -> Answer:
    """The answer to one digit of the test set in a batch of one."""
    return classify(backend, DIGITS[digit : digit + 1], solver)


def assert_same(backend: Backend, one: Answer, other: Answer) -> None:
    """Assert equal bits with onnxruntime, whose rows are independent, and equality up to rounding with torch."""
    if isinstance(backend, OnnxBackend):
        for name in Answer._fields:
            assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        return
    assert_allclose(one.logits, other.logits, rtol=0, atol=1e-4)
    assert_allclose(one.error_estimate, other.error_estimate, rtol=1e-2, atol=1e-6)
    for name in ("steps", "rejected", "nfe", "outcome"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def solved_together(
    backend: Backend, digits: Sequence[int], solver: SolverSettings | None, max_nfe: int | None = None
) -> list[Answer]:
    """The answers to digits that are in the same flight from beginning to end."""
    flight = TrackedFlight(backend, None if solver is None else solver.method, len(digits))
    flight.join(range(len(digits)), digits, [solver] * len(digits), [max_nfe] * len(digits))
    answers = flight.run_to_end()
    return [answers[row] for row in range(len(digits))]


def solvers_of(method: str) -> st.SearchStrategy[SolverSettings]:
    """Settings whose tolerances are loose enough that rounding in torch cannot decide whether a step is accepted."""
    if method in FIXED:
        return st.builds(SolverSettings, method=st.just(method), steps=st.integers(1, 6))
    tolerance = st.sampled_from([10.0, 1.0, 1e-1, 1e-2, 1e-3])
    return st.builds(SolverSettings, method=st.just(method), rtol=tolerance, atol=tolerance)


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, list[list[tuple[int, SolverSettings]] | set[int] | None]]:
    """A method and a list of events.

    An event is a list of digits with their settings, which join; a set of slots, which are dropped; or None, which
    attempts a step.
    """
    method = draw(st.sampled_from(list(METHODS)))
    joining = st.lists(st.tuples(st.integers(0, 39), solvers_of(method)), min_size=1, max_size=CAPACITY)
    events = st.one_of(joining, st.none(), st.sets(st.integers(0, CAPACITY - 1), min_size=1, max_size=3))
    return method, draw(st.lists(events, max_size=15))


@examples(1.2)
@given(schedule=schedules())
@pytest.mark.parametrize("name", ["onnxruntime", "torch", "torch in buckets"])
def test_a_row_gets_the_same_answer_as_alone_whichever_other_rows_come_and_go(
    name: str, schedule: tuple[str, list[list[tuple[int, SolverSettings]] | set[int] | None]]
) -> None:
    method, events = schedule
    backend = backend_of(name)
    flight = TrackedFlight(backend, method)
    joined: list[tuple[int, SolverSettings]] = []
    dropped = set()
    for event in events:
        if event is None:
            flight.attempt()
        elif isinstance(event, set):
            slots = sorted(slot for slot in event if slot < len(flight.id_of_slot))
            dropped |= {flight.id_of_slot[slot] for slot in slots}
            flight.drop(slots)
        elif joining := event[: CAPACITY - len(flight.id_of_slot)]:
            flight.join(range(len(joined), len(joined) + len(joining)), *zip(*joining, strict=True))
            joined += joining
    answers = flight.run_to_end()
    assert answers.keys() == set(range(len(joined))) - dropped
    for row, answer in answers.items():
        assert_same(backend, answer, alone(backend, *joined[row]))


@every_method
def test_an_emptied_flight_gives_the_same_answers_as_a_new_one(backend: Backend, method: str) -> None:
    solver = SolverSettings.adaptive(method, 1e-2) if method in ADAPTIVE else SolverSettings(method=method, steps=3)
    flight = TrackedFlight(backend, method, 2)
    for row in range(0, 6, 2):
        flight.join([row, row + 1], [row, 7], [solver, solver], [None, METHODS[method].stages + 1])
        flight.run_to_end()
    for row in range(0, 6, 2):
        assert_same(backend, flight.answers[row], alone(backend, row, solver))


# A limit of evaluations.


@every_method
def test_a_row_uses_as_many_evaluations_as_its_limit_allows_and_no_more(backend: Backend, method: str) -> None:
    tableau = METHODS[method]
    tight = SolverSettings.adaptive(method, 1e-5) if tableau.adaptive else SolverSettings(method=method, steps=20)
    for max_nfe in range(tableau.least_evaluations, tableau.least_evaluations + 15, 4):
        for answer in solved_together(backend, range(3), tight, max_nfe):
            assert max_nfe - tableau.evaluations_per_step < answer.nfe[0] <= max_nfe
            assert answer.outcome[0] == Outcome.max_nfe
            assert np.isfinite(answer.logits).all()


@every_method
def test_a_limit_of_one_step_gives_the_answer_of_one_step(backend: Backend, method: str) -> None:
    tableau = METHODS[method]
    one, tight = (
        (SolverSettings.adaptive(method, tolerance) for tolerance in (10.0, 1e-6))
        if tableau.adaptive
        else (SolverSettings(method=method, steps=steps) for steps in (1, 100))
    )
    for digit, answer in enumerate(solved_together(backend, range(3), tight, tableau.least_evaluations)):
        expected = alone(backend, digit, one)
        assert_same(backend, answer._replace(outcome=expected.outcome), expected)
        assert answer.outcome[0] == Outcome.max_nfe


@every_method
def test_a_limit_that_is_not_reached_does_not_change_the_answer(backend: Backend, method: str) -> None:
    solver = SolverSettings.adaptive(method, 1e-2) if method in ADAPTIVE else SolverSettings(method=method, steps=4)
    for digit, answer in enumerate(solved_together(backend, range(3), solver, 10_000)):
        assert_same(backend, answer, alone(backend, digit, solver))


@every_adaptive_method
def test_a_forced_last_step_within_the_tolerance_counts_as_converged(backend: Backend, method: str) -> None:
    loose = SolverSettings.adaptive(method, 10.0)
    for digit, answer in enumerate(solved_together(backend, range(3), loose, METHODS[method].least_evaluations)):
        assert answer.outcome[0] == Outcome.converged
        assert_same(backend, answer, alone(backend, digit, loose))


@every_fixed_step_method
def test_a_limit_of_exactly_the_requested_steps_does_not_change_the_answer(backend: Backend, method: str) -> None:
    solver = SolverSettings(method=method, steps=7)  # in float32, seven sevenths do not add up to 1
    for digit, answer in enumerate(solved_together(backend, range(3), solver, 7 * METHODS[method].stages)):
        assert_same(backend, answer, alone(backend, digit, solver))


def test_each_row_of_a_flight_has_its_own_limit(backend: Backend) -> None:
    solver, flight = SolverSettings.adaptive("heun2", 1e-3), TrackedFlight(backend, "heun2")
    flight.join(range(4), range(4), [solver] * 4, [6, None, 10, None])
    answers = flight.run_to_end()
    assert [int(answers[row].nfe[0]) for row in (0, 2)] == [6, 10]
    for row in (1, 3):
        assert_same(backend, answers[row], alone(backend, row, solver))


# A deadline.


@every_method
def test_finish_ends_one_row_at_its_next_step_and_does_not_change_the_others(backend: Backend, method: str) -> None:
    tableau = METHODS[method]
    tight = SolverSettings.adaptive(method, 1e-4) if tableau.adaptive else SolverSettings(method=method, steps=9)
    flight = TrackedFlight(backend, method)
    flight.join(range(3), range(3), [tight] * 3)
    flight.attempt()
    flight.finish([1], Outcome.deadline)
    flight.attempt()
    assert flight.answers.keys() == {1}
    assert flight.answers[1].outcome[0] == Outcome.deadline
    assert flight.answers[1].nfe[0] == tableau.evaluations_to_start + 2 * tableau.evaluations_per_step
    answers = flight.run_to_end()
    for row in (0, 2):
        assert_same(backend, answers[row], alone(backend, row, tight))


@every_fixed_step_method
def test_finish_before_the_last_step_leaves_the_row_converged(backend: Backend, method: str) -> None:
    solver, flight = SolverSettings(method=method, steps=3), TrackedFlight(backend, method)
    flight.join([0], [0], [solver])
    flight.attempt()
    flight.attempt()
    flight.finish([0], Outcome.deadline)
    assert_same(backend, flight.run_to_end()[0], alone(backend, 0, solver))


def test_finish_does_not_affect_the_next_row_in_the_slot_of_a_dropped_row(backend: Backend) -> None:
    solver, flight = SolverSettings.adaptive("bosh3", 1e-3), TrackedFlight(backend, "bosh3")
    flight.join([0, 1], [0, 1], [solver, solver])
    flight.finish([0], Outcome.deadline)
    flight.drop([0])
    flight.join([2], [2], [solver])
    for row, answer in flight.run_to_end().items():
        assert_same(backend, answer, alone(backend, row, solver))


# Rows that start from a known state at t = 0.


@every_method
@pytest.mark.parametrize("name", ["onnxruntime", "torch", "torch in buckets"])
def test_a_row_that_resumes_gets_the_same_answer_as_one_that_joins(name: str, method: str) -> None:
    """The states at t = 0 are kept while rows advance, are dropped and move to other slots."""
    backend = backend_of(name)
    loose = SolverSettings.adaptive("heun2", 1e-2)
    solver = SolverSettings.adaptive(method, 1e-2) if method in ADAPTIVE else SolverSettings(method=method, steps=3)
    first = backend.flight("heun2", CAPACITY)
    first.join(DIGITS[:4], [loose.arguments] * 4, [None] * 4, keep=True)
    first.attempt()
    first.drop([1])
    starts = first.starts([1, 2])  # the last row has moved into the free slot
    second = TrackedFlight(backend, method)
    second.join([9], [9], [solver])
    second.flight.resume(starts, [solver.arguments] * 2, [None, None])
    second.id_of_slot += [3, 2]
    for digit, answer in second.run_to_end().items():
        assert_same(backend, answer, alone(backend, digit, solver))


def test_a_flight_without_kept_states_has_no_starts(backend: Backend) -> None:
    flight = backend.flight("heun2", CAPACITY)
    flight.join(DIGITS[:1], [SolverSettings.adaptive("heun2", 1.0).arguments], [None])
    with pytest.raises(ValueError, match="no row joined with keep"):
        flight.starts([0])


# Solves that do not converge, and networks without an ODE.


def test_a_row_that_never_ends_is_given_up(backend: Backend) -> None:
    too_tight = SolverSettings.model_construct(method="heun2", rtol=1e-9, atol=1e-9)
    feasible = SolverSettings.adaptive("heun2", 1e-2)
    flight = TrackedFlight(backend, "heun2")
    flight.join([0, 1], [0, 1], [too_tight, feasible])
    answers = flight.run_to_end()
    assert answers[0].outcome[0] == Outcome.max_steps
    assert (answers[0].steps[0], answers[0].nfe[0]) == (MAX_STEPS, 2 * MAX_STEPS)
    assert_same(backend, answers[1], alone(backend, 1, feasible))
    expected = alone(backend, 0, too_tight)
    assert (expected.outcome[0], expected.steps[0]) == (Outcome.max_steps, MAX_STEPS)


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_a_network_without_an_ode_ends_at_its_first_attempt(name: str) -> None:
    folder = newest(FITTED / "mlp")
    assert folder is not None
    backend = OnnxBackend(folder, []) if name == "onnxruntime" else TorchBackend(load_network(artifacts.read(folder)))
    flight = TrackedFlight(backend, None)
    flight.join(range(3), range(3), [None] * 3)
    flight.finish([2], Outcome.deadline)  # has no effect, because the row ends at its first attempt
    flight.drop([0])
    flight.attempt()
    assert flight.answers.keys() == {1, 2}
    for row, answer in flight.answers.items():
        assert (answer.nfe[0], answer.outcome[0]) == (0, Outcome.converged)
        assert_same(backend, answer, classify(backend, DIGITS[row : row + 1], None))
