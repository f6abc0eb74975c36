"""Rows in flight: whoever else joins, leaves or is dropped, each gets the answer that it gets alone."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
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
from tests.digits import load_test_set
from tests.models.backends.shipped import backend_of
from tests.serving import FITTED

DIGITS = load_test_set()[0]
CAPACITY = 6
ADAPTIVE = [name for name, method in METHODS.items() if method.adaptive]
FIXED = [name for name, method in METHODS.items() if not method.adaptive]

every_method = pytest.mark.parametrize("method", METHODS)
every_adaptive_method = pytest.mark.parametrize("method", ADAPTIVE)
every_fixed_step_method = pytest.mark.parametrize("method", FIXED)


def alone(backend: Backend, digit: int, solver: SolverSettings | None) -> Answer:
    """The answer to a digit of the test set by itself."""
    return classify(backend, DIGITS[digit : digit + 1], solver)


def row_of(answer: Answer, row: int) -> Answer:
    return Answer._make(column[row : row + 1] for column in answer)


def assert_same(backend: Backend, one: Answer, other: Answer) -> None:
    """Bit for bit by onnxruntime, whose rows know nothing of each other; by torch but for rounding."""
    if isinstance(backend, OnnxBackend):
        for name in Answer._fields:
            assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
        return
    assert_allclose(one.logits, other.logits, rtol=0, atol=1e-4)
    assert_allclose(one.error_estimate, other.error_estimate, rtol=1e-2, atol=1e-6)
    for name in ("steps", "rejected", "nfe", "outcome"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


class Plane:
    """A flight, and who sits where in it."""

    def __init__(self, backend: Backend, method: str | None, capacity: int = CAPACITY) -> None:
        self.flight = backend.flight(method, capacity)
        self.seats: list[int] = []
        self.answers: dict[int, Answer] = {}

    def board(
        self,
        passengers: Sequence[int],
        digits: Sequence[int],
        solvers: Sequence[SolverSettings | None],
        max_nfe: Sequence[int | None] | None = None,
    ) -> None:
        self.flight.join(DIGITS[list(digits)], solvers, max_nfe or [None] * len(digits))
        self.seats += passengers

    def attempt(self) -> None:
        """Attempt a step; who has arrived gets off."""
        if not self.seats:
            return
        places = self.flight.attempt()
        assert places == sorted(set(places))
        if places:
            answer = self.flight.leave(places)
            self.answers |= {self.seats[place]: row_of(answer, row) for row, place in enumerate(places)}
            self.vacate(places)

    def drop(self, places: list[int]) -> None:
        self.flight.drop(places)
        self.vacate(places)

    def vacate(self, places: list[int]) -> None:
        for place in reversed(places):
            self.seats[place] = self.seats[-1]
            self.seats.pop()
        assert self.flight.rows == len(self.seats)

    def land(self) -> dict[int, Answer]:
        """Go on until all have arrived."""
        while self.seats:
            self.attempt()
        return self.answers


def flown(
    backend: Backend, digits: Sequence[int], solver: SolverSettings | None, max_nfe: int | None = None
) -> list[Answer]:
    """The answers to digits that fly together from beginning to end."""
    plane = Plane(backend, None if solver is None else solver.method, len(digits))
    plane.board(range(len(digits)), digits, [solver] * len(digits), [max_nfe] * len(digits))
    answers = plane.land()
    return [answers[passenger] for passenger in range(len(digits))]


def solvers_of(method: str) -> st.SearchStrategy[SolverSettings]:
    """No tolerance so tight that rounding, by torch, tells whether a step is accepted."""
    if method in FIXED:
        return st.builds(SolverSettings, method=st.just(method), steps=st.integers(1, 6))
    tolerance = st.sampled_from([10.0, 1.0, 1e-1, 1e-2, 1e-3])
    return st.builds(SolverSettings, method=st.just(method), rtol=tolerance, atol=tolerance)


@st.composite
def journeys(draw: st.DrawFn) -> tuple[str, list[list[tuple[int, SolverSettings]] | set[int] | None]]:
    """A method, and what happens: digits board, with settings of their own; seats are dropped; or a step is tried."""
    method = draw(st.sampled_from(list(METHODS)))
    boarding = st.lists(st.tuples(st.integers(0, 39), solvers_of(method)), min_size=1, max_size=CAPACITY)
    events = st.one_of(boarding, st.none(), st.sets(st.integers(0, CAPACITY - 1), min_size=1, max_size=3))
    return method, draw(st.lists(events, max_size=15))


@settings(max_examples=60, deadline=None)
@given(journey=journeys())
@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_whoever_else_is_in_flight_each_gets_the_answer_that_it_gets_alone(
    name: str, journey: tuple[str, list[list[tuple[int, SolverSettings]] | set[int] | None]]
) -> None:
    method, events = journey
    backend = backend_of(name)
    plane = Plane(backend, method)
    boarded: list[tuple[int, SolverSettings]] = []
    dropped = set()
    for event in events:
        if event is None:
            plane.attempt()
        elif isinstance(event, set):
            places = sorted(place for place in event if place < len(plane.seats))
            dropped |= {plane.seats[place] for place in places}
            plane.drop(places)
        elif joining := event[: CAPACITY - len(plane.seats)]:
            plane.board(range(len(boarded), len(boarded) + len(joining)), *zip(*joining, strict=True))
            boarded += joining
    answers = plane.land()
    assert answers.keys() == set(range(len(boarded))) - dropped
    for passenger, answer in answers.items():
        assert_same(backend, answer, alone(backend, *boarded[passenger]))


@every_method
def test_a_flight_that_is_left_by_all_serves_the_next_as_if_it_were_new(backend: Backend, method: str) -> None:
    solver = SolverSettings.adaptive(method, 1e-2) if method in ADAPTIVE else SolverSettings(method=method, steps=3)
    plane = Plane(backend, method, 2)
    for passenger in range(0, 6, 2):
        plane.board([passenger, passenger + 1], [passenger, 7], [solver, solver], [None, METHODS[method].stages + 1])
        plane.land()
    for passenger in range(0, 6, 2):
        assert_same(backend, plane.answers[passenger], alone(backend, passenger, solver))


# A limit of evaluations.


@every_method
def test_no_more_evaluations_are_spent_than_allowed_and_none_that_are_needed_are_left(
    backend: Backend, method: str
) -> None:
    tableau = METHODS[method]
    tight = SolverSettings.adaptive(method, 1e-5) if tableau.adaptive else SolverSettings(method=method, steps=20)
    for max_nfe in range(tableau.least_evaluations, tableau.least_evaluations + 15, 4):
        for answer in flown(backend, range(3), tight, max_nfe):
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
    for digit, answer in enumerate(flown(backend, range(3), tight, tableau.least_evaluations)):
        expected = alone(backend, digit, one)
        assert_same(backend, answer._replace(outcome=expected.outcome), expected)
        assert answer.outcome[0] == Outcome.max_nfe


@every_method
def test_a_limit_that_is_not_reached_changes_nothing(backend: Backend, method: str) -> None:
    solver = SolverSettings.adaptive(method, 1e-2) if method in ADAPTIVE else SolverSettings(method=method, steps=4)
    for digit, answer in enumerate(flown(backend, range(3), solver, 10_000)):
        assert_same(backend, answer, alone(backend, digit, solver))


@every_adaptive_method
def test_a_last_step_whose_error_is_within_the_tolerance_is_no_forced_one(backend: Backend, method: str) -> None:
    loose = SolverSettings.adaptive(method, 10.0)
    for digit, answer in enumerate(flown(backend, range(3), loose, METHODS[method].least_evaluations)):
        assert answer.outcome[0] == Outcome.converged
        assert_same(backend, answer, alone(backend, digit, loose))


@every_fixed_step_method
def test_a_limit_of_exactly_the_steps_that_are_asked_is_none(backend: Backend, method: str) -> None:
    solver = SolverSettings(method=method, steps=7)  # sevenths do not sum up to 1 in float32
    for digit, answer in enumerate(flown(backend, range(3), solver, 7 * METHODS[method].stages)):
        assert_same(backend, answer, alone(backend, digit, solver))


def test_limits_of_one_flight_are_each_rows_own(backend: Backend) -> None:
    solver, plane = SolverSettings.adaptive("heun2", 1e-3), Plane(backend, "heun2")
    plane.board(range(4), range(4), [solver] * 4, [6, None, 10, None])
    answers = plane.land()
    assert [int(answers[row].nfe[0]) for row in (0, 2)] == [6, 10]
    for row in (1, 3):
        assert_same(backend, answers[row], alone(backend, row, solver))


# A deadline.


@every_method
def test_who_is_hurried_ends_with_the_next_step_and_the_others_as_they_would_have(
    backend: Backend, method: str
) -> None:
    tableau = METHODS[method]
    tight = SolverSettings.adaptive(method, 1e-4) if tableau.adaptive else SolverSettings(method=method, steps=9)
    plane = Plane(backend, method)
    plane.board(range(3), range(3), [tight] * 3)
    plane.attempt()
    plane.flight.finish([1], Outcome.deadline)
    plane.attempt()
    assert plane.answers.keys() == {1}
    assert plane.answers[1].outcome[0] == Outcome.deadline
    assert plane.answers[1].nfe[0] == tableau.evaluations_to_start + 2 * tableau.evaluations_per_step
    answers = plane.land()
    for row in (0, 2):
        assert_same(backend, answers[row], alone(backend, row, tight))


@every_fixed_step_method
def test_who_is_hurried_before_its_last_step_has_converged(backend: Backend, method: str) -> None:
    solver, plane = SolverSettings(method=method, steps=3), Plane(backend, method)
    plane.board([0], [0], [solver])
    plane.attempt()
    plane.attempt()
    plane.flight.finish([0], Outcome.deadline)
    assert_same(backend, plane.land()[0], alone(backend, 0, solver))


def test_who_is_hurried_and_dropped_leaves_no_trace(backend: Backend) -> None:
    solver, plane = SolverSettings.adaptive("bosh3", 1e-3), Plane(backend, "bosh3")
    plane.board([0, 1], [0, 1], [solver, solver])
    plane.flight.finish([0], Outcome.deadline)
    plane.drop([0])
    plane.board([2], [2], [solver])
    for row, answer in plane.land().items():
        assert_same(backend, answer, alone(backend, row, solver))


# The ends of what a flight can do.


def test_a_row_that_never_ends_is_given_up(backend: Backend) -> None:
    hopeless = SolverSettings.model_construct(method="heun2", rtol=1e-9, atol=1e-9)
    fine = SolverSettings.adaptive("heun2", 1e-2)
    plane = Plane(backend, "heun2")
    plane.board([0, 1], [0, 1], [hopeless, fine])
    answers = plane.land()
    assert answers[0].outcome[0] == Outcome.max_steps
    assert (answers[0].steps[0], answers[0].nfe[0]) == (MAX_STEPS, 2 * MAX_STEPS)
    assert_same(backend, answers[1], alone(backend, 1, fine))
    expected = alone(backend, 0, hopeless)
    assert (expected.outcome[0], expected.steps[0]) == (Outcome.max_steps, MAX_STEPS)


@pytest.mark.parametrize("name", ["onnxruntime", "torch"])
def test_a_network_without_an_ode_ends_at_its_first_attempt(name: str) -> None:
    folder = newest(FITTED / "mlp")
    assert folder is not None
    backend = OnnxBackend(folder, []) if name == "onnxruntime" else TorchBackend(load_network(artifacts.read(folder)))
    plane = Plane(backend, None)
    plane.board(range(3), range(3), [None] * 3)
    plane.flight.finish([2], Outcome.deadline)  # there is nothing to be cut short
    plane.drop([0])
    plane.attempt()
    assert plane.answers.keys() == {1, 2}
    for row, answer in plane.answers.items():
        assert (answer.nfe[0], answer.outcome[0]) == (0, Outcome.converged)
        assert_same(backend, answer, classify(backend, DIGITS[row : row + 1], None))
