"""An image whose loose solve leaves a small margin is solved again, from its state at t = 0, by a tighter candidate."""

import math
from dataclasses import replace
from gc import collect
from typing import Any
from weakref import ref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from models.solvers.solve import Outcome
from service.engine.batch import Batch, BatchRow
from service.engine.candidate import Candidate
from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest, Priority
from service.engine.tuning import FIRST_SPREAD
from tests.service.engine.device import Device
from tests.service.engine.driving import Driver, assert_answered_as_alone, doubtful_digits, served

DOUBTFUL = doubtful_digits()
CLEAR = [digit for digit in range(40) if digit not in DOUBTFUL]


def ladder(model: ServedModel) -> tuple[Candidate, Candidate]:
    """The loose and the tight candidate of the default ladder."""
    loose = Driver(model).request([0]).plan.candidates[0]
    assert loose.tighter is not None
    return loose, loose.tighter


def escalated(driver: Driver, digit: int = DOUBTFUL[0], **fields: Any) -> EngineRequest:
    """A request for a doubtful digit, which has been solved loosely and waits to be solved again."""
    request = driver.submit([digit], **fields)
    driver.iterate_until(lambda: request.escalated[0])
    return request


# The way of an image.


def test_only_doubtful_images_are_solved_again(driver: Driver) -> None:
    request = driver.submit([*CLEAR[:6], *DOUBTFUL[:3]])
    driver.run()
    assert request.escalated == [False] * 6 + [True] * 3
    assert request.degraded == [False] * 9
    loose, tight = ladder(driver.model)
    assert request.chosen == [loose] * 6 + [tight] * 3
    assert (request.margins[6:] < request.margins[:6].min()).all()
    assert_answered_as_alone(request)


def test_the_answer_counts_the_evaluations_of_both_solves(driver: Driver) -> None:
    request = driver.submit([CLEAR[0], DOUBTFUL[0]])
    driver.run()
    clear, doubtful = request.answer.nfe.tolist()
    assert clear == 2 < doubtful
    assert driver.evaluations == clear + doubtful


def test_an_image_goes_from_the_loose_to_the_tight_batch(driver: Driver) -> None:
    request = driver.submit([DOUBTFUL[0]])
    driver.iterate()
    assert (request.started, request.escalated, request.end) == (1, [True], None)
    assert driver.evaluations == 2
    assert driver.scheduler.rows == 1
    driver.iterate()
    assert driver.evaluations > 2
    driver.run()
    assert request.end is End.answered


def test_the_stem_is_not_computed_again() -> None:
    device = Device()
    driver = Driver(served("odenet-mnist", device), device=device)
    request = escalated(driver)
    with device.broken("stem", request.chosen[0].method):
        driver.run()
    assert_answered_as_alone(request)


def test_a_model_that_is_replaced_between_the_solves_answers_its_image_and_is_then_forgotten() -> None:
    driver = Driver(served("odenet-mnist"))
    old, driver.model = driver.model, served("odenet-mnist-fast")
    request = escalated(driver, model=old)
    newer = driver.submit([CLEAR[0]])
    driver.run()
    assert [request.end, newer.end] == [End.answered] * 2
    assert request.chosen == [ladder(old)[1]]
    assert_answered_as_alone(request)
    assert_answered_as_alone(newer)
    replaced = ref(old)
    del old, request
    driver.ended.clear()
    collect()
    assert replaced() is None


def test_no_other_image_waits_for_a_doubtful_one(driver: Driver) -> None:
    doubtful = driver.submit([DOUBTFUL[0]])
    clear = driver.submit([CLEAR[0]])
    driver.iterate()
    assert clear.end is End.answered
    assert doubtful.end is None
    later = driver.submit([CLEAR[1]])
    driver.iterate(2)
    assert later.end is End.answered
    driver.run()
    assert_answered_as_alone(doubtful)


def test_many_doubtful_images_are_answered_in_the_order_of_the_request(driver: Driver) -> None:
    request = driver.submit(DOUBTFUL * 20)
    driver.run()
    assert all(request.escalated)
    assert_answered_as_alone(request)


def test_doubtful_images_of_a_high_priority_go_on_first(driver: Driver) -> None:
    low, high = (driver.submit(DOUBTFUL[:1] * 30, priority=each) for each in (Priority.low, Priority.high))
    driver.run()
    assert driver.ended == [high, low]


def test_images_wait_while_their_batch_has_no_room(model: ServedModel) -> None:
    """A deadline may shrink the room of a batch below the number of its images in flight."""
    request, (_, tight) = Driver(model).request(DOUBTFUL[:5]), ladder(model)
    rows = [BatchRow(request, number, tight, guest=True) for number in range(5)]
    batch = Batch(model, tight.method)
    batch.members += rows[:2]
    for row in rows[2:]:
        batch.escalate(row)
    assert batch.take_escalated(0.0) == []
    assert batch.escalated == rows[2:]
    batch.members.clear()
    assert batch.take_escalated(0.0) == rows[2:3]


def test_a_request_may_forbid_a_second_solve(driver: Driver) -> None:
    request = driver.submit([CLEAR[0], DOUBTFUL[0]], escalate=False)
    driver.run()
    assert request.escalated == [False, False]
    assert request.chosen[0].solver == driver.model.artifact.manifest.default_solver
    assert_answered_as_alone(request)


def test_the_images_that_wait_to_be_solved_again_are_limited(model: ServedModel) -> None:
    """More doubtful images wait in the queue. An image without a second solve passes them."""
    driver = Driver(model)
    request = driver.submit(DOUBTFUL[:1] * 200, agreement=0.999)
    loose, tight = (Batch(model, each.method).capacity for each in ladder(model))
    driver.iterate(20)
    other = driver.submit([CLEAR[0]], escalate=False)
    while driver.admission.rows:
        assert driver.scheduler.rows <= loose + 2 * tight
        driver.iterate()
    driver.run()
    assert driver.ended == [other, request]
    assert_answered_as_alone(request)


def test_an_urgent_request_does_not_wait_for_images_that_are_solved_again(driver: Driver) -> None:
    driver.submit(DOUBTFUL[:1] * 200, agreement=0.999)
    driver.iterate(20)
    loose, _ = ladder(driver.model)
    urgent = driver.submit([DOUBTFUL[0]], deadline_ms=1)
    driver.iterate(5)  # each of the three batches has a turn before the loose solve ends
    assert urgent.end is End.answered
    assert urgent.chosen == [loose]
    assert urgent.answer.outcome.tolist() == [Outcome.deadline]


# Requests that end early.


@pytest.mark.parametrize("iterations", [0, 1], ids=["waiting", "in flight"])
def test_a_cancelled_image_costs_no_further_evaluation(driver: Driver, iterations: int) -> None:
    request = escalated(driver)
    driver.iterate(iterations)
    spent = driver.evaluations
    driver.scheduler.end(request, End.cancelled)
    driver.run()
    assert (driver.ended, driver.evaluations) == ([request], spent)
    assert driver.scheduler.idle


def test_all_requests_end_when_the_service_stops(driver: Driver) -> None:
    request = escalated(driver)
    driver.scheduler.end_all(End.stopped)
    driver.run()
    assert request.end is End.stopped


@pytest.mark.parametrize("part", ["memory", "restore", "step", "head"])
def test_a_failure_of_the_tight_solve_ends_only_its_request(part: str) -> None:
    device = Device()
    driver = Driver(served("odenet-mnist", device), device=device)
    tight = ladder(driver.model)[1].method
    doubtful = escalated(driver)
    with device.broken(part, tight):
        driver.iterate_until(lambda: doubtful.end)
    clear = driver.submit([CLEAR[0], DOUBTFUL[1]])
    driver.run()
    assert doubtful.end is End.failed
    assert_answered_as_alone(clear)


# Limits.


def test_a_limit_on_evaluations_covers_both_solves(driver: Driver) -> None:
    least = ladder(driver.model)[0].least_evaluations
    request = driver.submit([CLEAR[0], DOUBTFUL[0]], max_nfe=least)
    driver.run()
    assert request.escalated == [False, True]
    assert request.answer.nfe.tolist() == [2, least]
    assert request.answer.outcome.tolist() == [Outcome.converged, Outcome.max_nfe]


def test_a_limit_below_both_solves_leaves_the_default_settings(driver: Driver) -> None:
    least = ladder(driver.model)[0].least_evaluations
    request = driver.submit([DOUBTFUL[0]], max_nfe=least - 1)
    driver.run()
    assert request.escalated == [False]
    assert request.chosen[0].solver == driver.model.artifact.manifest.default_solver


def test_an_image_without_time_for_a_tight_solve_is_answered_loosely(model: ServedModel) -> None:
    driver = Driver(model)
    loose, tight = ladder(model)
    seconds = 1.5 * (model.costs.answer(1, loose.nfe_p90) + model.costs.answer(1, tight.nfe_p90)) / 1.6
    request = driver.submit([DOUBTFUL[0]], agreement=0.999, deadline_ms=1e3 * seconds)
    driver.run()
    assert request.end is End.answered
    assert request.escalated == [False]
    assert request.answer.outcome.tolist() == [Outcome.deadline]
    assert request.chosen == [loose]


def test_an_image_that_would_wait_too_long_for_its_tight_solve_is_answered_loosely(model: ServedModel) -> None:
    """The time suffices for the tight solves of one full batch, but not of three."""
    driver, (_, tight) = Driver(model), ladder(model)
    capacity = Batch(model, tight.method).capacity
    seconds = 2 * FIRST_SPREAD * model.costs.answer(capacity, tight.nfe_p90)
    request = driver.submit(DOUBTFUL[:1] * 3 * capacity, agreement=0.999, deadline_ms=1e3 * seconds)
    driver.run()
    assert any(request.escalated)
    late = [not escalated for escalated in request.escalated]
    assert any(late)
    assert [outcome == Outcome.deadline for outcome in request.answer.outcome] == late


def test_a_deadline_that_passes_during_the_tight_solve_ends_the_request(driver: Driver) -> None:
    request = escalated(driver, deadline_ms=100, agreement=0.999)
    driver.clock.now += 0.101
    driver.run()
    assert request.end is End.expired


def test_a_deadline_that_passes_during_the_tight_solve_leaves_the_loose_answer_if_the_request_allows_it(
    driver: Driver,
) -> None:
    loose, _ = ladder(driver.model)
    request = escalated(driver, deadline_ms=100, agreement=0.999, allow_degraded=True)
    spent = driver.evaluations
    driver.clock.now += 0.101
    driver.run()
    assert driver.ended == [request]
    assert request.end is End.answered
    assert (request.chosen, request.escalated, request.degraded) == ([loose], [False], [True])
    assert request.answer.outcome.tolist() == [Outcome.deadline]
    assert driver.evaluations == spent
    assert request.phases is not None


def test_a_deadline_that_passes_during_the_last_of_three_solves_leaves_the_second_answer(driver: Driver) -> None:
    request = driver.request(DOUBTFUL[:1], deadline_ms=100, agreement=0.999, allow_degraded=True, traced=True)
    loose, tight = ladder(driver.model)
    middle = replace(loose, threshold=math.inf, tighter=tight)
    request.plan = replace(request.plan, candidates=(replace(middle, tighter=middle),))
    driver.admission.enter(request.demand)
    driver.scheduler.submit(request)
    driver.iterate_until(lambda: request.chosen[0] is tight)
    driver.clock.now += 0.101
    driver.run()
    assert request.end is End.answered
    assert (request.chosen, request.escalated, request.degraded) == ([middle], [True], [True])
    assert len(request.looser_traces[0]) == 1
    assert_trace_of_answer(request, 0)


def test_a_deadline_with_an_image_that_was_never_solved_ends_the_request(driver: Driver) -> None:
    request = driver.submit(DOUBTFUL[:1] * 200, deadline_ms=100, agreement=0.999, allow_degraded=True)
    driver.iterate_until(lambda: any(request.escalated))
    driver.clock.now += 0.101
    driver.run()
    assert request.end is End.expired


@pytest.mark.parametrize("milliseconds", [1, 600_000])
def test_a_deadline_chooses_a_ladder_which_gives_the_digits_of_a_tight_solve(driver: Driver, milliseconds: int) -> None:
    loose, _ = ladder(driver.model)
    request = driver.submit([CLEAR[0]], deadline_ms=milliseconds)
    driver.run()
    assert request.plan.by_deadline
    assert request.chosen == [loose]


# A busy service.


def test_a_busy_service_lowers_the_agreement_down_to_the_floor(model: ServedModel) -> None:
    driver = Driver(model)
    driver.limit_queue(100)
    last = driver.submit([CLEAR[0]], priority=Priority.low)
    request = driver.submit([CLEAR[0]] * 50 + DOUBTFUL[:1] * 49)
    driver.run()
    loose, _ = ladder(model)
    assert any(request.degraded)
    for chosen, degraded, escalated in zip(request.chosen, request.degraded, request.escalated, strict=True):
        assert not (degraded and escalated)
        assert not degraded or (chosen.solver == loose.solver and chosen.tighter is None)
    assert last.end is End.answered
    assert_answered_as_alone(request)


@pytest.mark.parametrize("fields", [{"agreement": 0.999}, {"allow_degraded": False}], ids=str)
def test_an_agreement_that_the_request_insists_on_is_kept(model: ServedModel, fields: dict[str, Any]) -> None:
    assert len(Driver(model).request([0], **fields).plan.candidates) == 1
    assert len(Driver(model).request([0], agreement=0.999, allow_degraded=True).plan.candidates) > 1


def test_a_floor_above_every_looser_ladder_allows_no_degradation(model: ServedModel) -> None:
    assert len(Driver(model).request([0], floor=0.999).plan.candidates) == 1


# Traces.


def assert_trace_of_answer(request: EngineRequest, row: int) -> None:
    """Check that the trace of an image shows the solve that gave the answer."""
    trace = request.traces[row]
    assert trace is not None
    assert len(trace.attempts) == request.answer.steps[row]
    assert_array_equal(trace.depth[-1].logits, request.answer.logits[row])


def test_a_loose_answer_after_the_deadline_has_the_trace_of_the_loose_solve(driver: Driver) -> None:
    request = escalated(driver, deadline_ms=100, agreement=0.999, allow_degraded=True, traced=True)
    driver.iterate()
    tight = request.traces[0]
    assert tight is not None
    assert tight.attempts, "the tight solve has begun"
    driver.clock.now += 0.101
    driver.run()
    assert request.answer.outcome.tolist() == [Outcome.deadline]
    assert_trace_of_answer(request, 0)
    assert request.looser_traces == [[]]


def test_both_solves_are_traced(driver: Driver) -> None:
    request = driver.submit([CLEAR[0], DOUBTFUL[0]], traced=True)
    driver.run()
    assert_answered_as_alone(request)
    assert request.looser_traces[0] == []
    ((loose,), tight) = request.looser_traces[1], request.traces[1]
    assert tight is not None
    assert len(loose.attempts) == 1
    assert_trace_of_answer(request, 1)
    assert_array_equal(loose.depth[0].logits, tight.depth[0].logits)
    threshold = ladder(driver.model)[0].threshold
    assert np.diff(np.sort(loose.depth[-1].logits)[-2:]) < threshold
