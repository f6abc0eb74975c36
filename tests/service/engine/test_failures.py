"""A backend that fails takes down what it was computing, and nothing else."""

import pytest

from models.solvers.methods import METHODS
from service.engine.request import End, EngineRequest
from tests.service.engine.driving import Driver, assert_answered_as_alone, served
from tests.service.engine.failing import Device, FailingBackend
from tests.serving import SHIPPED


@pytest.fixture(scope="module")
def backend() -> FailingBackend:
    return FailingBackend(SHIPPED, METHODS, Device())


@pytest.fixture
def device(backend: FailingBackend) -> Device:
    backend.device = Device()
    return backend.device


@pytest.fixture
def driver(backend: FailingBackend, device: Device) -> Driver:
    return Driver(served("odenet-mnist", backend), pace=1e-4)


def mixed(driver: Driver) -> dict[str, EngineRequest]:
    return {method: driver.ask(range(9), method=method) for method in ("heun2", "bosh3", "rk4")}


@pytest.mark.parametrize("part", ["stem", "step", "head"])
def test_a_failure_ends_what_is_in_its_flight_and_the_others_go_on(driver: Driver, device: Device, part: str) -> None:
    with device.broken(part, "bosh3"):
        requests = mixed(driver)
        driver.run()
    assert {method: request.end for method, request in requests.items()} == {
        "heun2": End.answered,
        "bosh3": End.failed,
        "rk4": End.answered,
    }
    assert_answered_as_alone(requests["heun2"])
    assert_answered_as_alone(requests["rk4"])


@pytest.mark.parametrize("part", ["stem", "step", "head"])
def test_once_it_is_mended_all_is_answered(driver: Driver, device: Device, part: str) -> None:
    with device.broken(part, "bosh3"):
        mixed(driver)
        driver.run()
    requests = mixed(driver)
    driver.run()
    for request in requests.values():
        assert_answered_as_alone(request)


def test_who_waits_is_not_ended_by_the_failure_of_those_in_flight(driver: Driver, device: Device) -> None:
    first = driver.ask(range(2), method="bosh3", tolerance=1e-5)
    driver.turn()
    with device.broken("step", "bosh3"):
        driver.turn()
    second = driver.ask(range(2), method="bosh3", tolerance=1e-5)
    driver.run()
    assert first.end is End.failed
    assert_answered_as_alone(second)


def test_a_request_whose_rows_are_in_two_flights_ends_once_when_one_of_them_fails(
    backend: FailingBackend, device: Device
) -> None:
    """A busy service solves some of its images by a looser method, whose flight fails while others are answered."""
    driver = Driver(served("odenet-mnist", backend), queue_rows=1000)
    request = driver.ask(range(12), tolerance=1e-2, allow_degraded=True)
    driver.turn()
    assert 0 < request.started < 12
    assert {candidate.method for candidate in request.chosen} == {"bosh3"}
    crowd = driver.ask([0] * 900, tolerance=1e-2, allow_degraded=True)
    with device.broken("stem", "heun2"):
        driver.turns_until(lambda: request.end)
        driver.run()
    assert "heun2" in {candidate.method for candidate in request.chosen}
    assert driver.ended == [request, crowd]
    assert driver.counted(End.failed) == 2


def test_a_lack_of_memory_for_a_flight_fails_the_request_and_not_the_engine(driver: Driver, device: Device) -> None:
    fine = driver.ask([0], method="heun2")
    with device.broken("memory", "dopri5"):
        request = driver.ask([0], method="dopri5")
        driver.run()
    assert request.end is End.failed
    assert_answered_as_alone(fine)
    after = driver.ask([0], method="dopri5")
    driver.run()
    assert_answered_as_alone(after)
