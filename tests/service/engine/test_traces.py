"""Traced requests: no answer changes, and the costs are corrected by untraced iterations only."""

import numpy as np
from numpy.testing import assert_array_equal

from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest
from tests.service.engine.driving import Driver, assert_answered_as_alone


def assert_traced(request: EngineRequest) -> None:
    """Check that each trace belongs to its answer."""
    for row, trace in enumerate(request.traces):
        assert trace is not None
        assert len(trace.attempts) == request.answer.steps[row]
        assert_array_equal(trace.depth[-1].logits, request.answer.logits[row])


def test_traced_and_untraced_images_of_a_batch_are_answered_as_alone(driver: Driver) -> None:
    requests = list[EngineRequest]()
    for number in range(12):
        tolerance = 10.0 ** -(number % 4)
        requests.append(
            driver.submit(range(number, number + 3), traced=number % 3 == 0, method="bosh3", tolerance=tolerance)
        )
        driver.iterate()
    driver.run()
    for number, request in enumerate(requests):
        assert_answered_as_alone(request)
        if number % 3 == 0:
            assert_traced(request)
        else:
            assert request.traces == [None] * 3


def test_a_cancelled_traced_request_does_not_change_its_batch(driver: Driver) -> None:
    gone = driver.submit(range(3), traced=True, method="heun2", tolerance=1e-4)
    stays = driver.submit(range(3, 6), traced=True, method="heun2", tolerance=1e-4)
    driver.iterate(4)
    driver.scheduler.end(gone, End.cancelled)
    driver.run()
    assert_answered_as_alone(stays)
    assert_traced(stays)


def test_a_trace_shows_the_last_step_before_a_deadline(model: ServedModel) -> None:
    driver = Driver(model, iteration_seconds=2e-3)
    request = driver.submit([0], traced=True, method="heun2", tolerance=1e-6, deadline_ms=50)
    driver.run()
    (trace,) = request.traces
    assert trace is not None
    last = trace.attempts[-1]
    assert (request.end, last.accepted, trace.depth[-1].t) == (End.answered, True, 1)
    assert last.size == np.float32(1 - last.t) > 0.1


def test_a_model_without_an_ode_has_no_trace(driver: Driver, mlp: ServedModel) -> None:
    request = driver.submit([0, 1], model=mlp, traced=True)
    driver.run()
    assert_answered_as_alone(request)
    assert request.traces == [None, None]


def test_traced_iterations_do_not_correct_the_costs(model: ServedModel) -> None:
    driver = Driver(model, iteration_seconds=1.0)
    driver.submit(range(4), traced=True, method="heun2", tolerance=1e-3)
    driver.run()
    assert model.costs.correction == 1
    driver.submit(range(4), method="heun2", tolerance=1e-3)
    driver.run()
    assert model.costs.correction > 1
