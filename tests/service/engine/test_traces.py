"""Who is traced is answered as alone, and so is everybody else; and the costs are learnt from the others."""

import numpy as np
from numpy.testing import assert_array_equal

from service.engine.model import ServedModel
from service.engine.request import End, EngineRequest
from tests.service.engine.driving import Driver, assert_answered_as_alone


def assert_traced(request: EngineRequest) -> None:
    """Each trace is that of its answer."""
    for row, trace in enumerate(request.traces):
        assert trace is not None
        assert len(trace.attempts) == request.answer.steps[row]
        assert_array_equal(trace.depth[-1].logits, request.answer.logits[row])


def test_traced_and_other_images_fly_together_and_each_is_answered_as_alone(driver: Driver) -> None:
    requests = list[EngineRequest]()
    for number in range(12):
        tolerance = 10.0 ** -(number % 4)
        requests.append(
            driver.ask(range(number, number + 3), traced=number % 3 == 0, method="bosh3", tolerance=tolerance)
        )
        driver.turn()
    driver.run()
    for number, request in enumerate(requests):
        assert_answered_as_alone(request)
        if number % 3 == 0:
            assert_traced(request)
        else:
            assert request.traces == [None] * 3


def test_who_is_traced_and_has_gone_takes_nothing_along(driver: Driver) -> None:
    gone = driver.ask(range(3), traced=True, method="heun2", tolerance=1e-4)
    stays = driver.ask(range(3, 6), traced=True, method="heun2", tolerance=1e-4)
    driver.turn(4)
    driver.scheduler.end(gone, End.cancelled)
    driver.run()
    assert_answered_as_alone(stays)
    assert_traced(stays)


def test_a_deadline_is_told_in_the_trace(model: ServedModel) -> None:
    driver = Driver(model, pace=2e-3)
    request = driver.ask([0], traced=True, method="heun2", tolerance=1e-6, deadline_ms=50)
    driver.run()
    (trace,) = request.traces
    assert trace is not None
    last = trace.attempts[-1]
    assert (request.end, last.accepted, trace.depth[-1].t) == (End.answered, True, 1)
    assert last.size == np.float32(1 - last.t) > 0.1


def test_a_model_without_an_ode_has_nothing_to_trace(driver: Driver, mlp: ServedModel) -> None:
    request = driver.ask([0, 1], model=mlp, traced=True)
    driver.run()
    assert_answered_as_alone(request)
    assert request.traces == [None, None]


def test_the_costs_are_not_learnt_from_turns_that_also_told(model: ServedModel) -> None:
    driver = Driver(model, pace=1.0)
    driver.ask(range(4), traced=True, method="heun2", tolerance=1e-3)
    driver.run()
    assert model.costs.correction == 1
    driver.ask(range(4), method="heun2", tolerance=1e-3)
    driver.run()
    assert model.costs.correction > 1
