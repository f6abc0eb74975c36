"""A failing computation ends the requests of its own iteration, and no other request."""

import pytest

from service.engine.request import End, EngineRequest
from tests.service.engine.device import Device
from tests.service.engine.driving import Driver, assert_answered_as_alone, served, timed


@pytest.fixture
def device() -> Device:
    return Device()


@pytest.fixture
def driver(device: Device) -> Driver:
    return Driver(served("odenet-mnist", device), iteration_seconds=1e-4, device=device)


def mixed(driver: Driver) -> dict[str, EngineRequest]:
    return {method: driver.submit(range(9), method=method) for method in ("heun2", "bosh3", "rk4")}


@pytest.mark.parametrize("part", ["stem", "step", "head"])
def test_a_failure_ends_the_requests_of_its_batch_and_the_others_go_on(
    driver: Driver, device: Device, part: str
) -> None:
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
def test_all_requests_are_answered_after_a_repair(driver: Driver, device: Device, part: str) -> None:
    with device.broken(part, "bosh3"):
        mixed(driver)
        driver.run()
    requests = mixed(driver)
    driver.run()
    for request in requests.values():
        assert_answered_as_alone(request)


def test_a_request_whose_answer_cannot_leave_the_batch_is_reported_as_failed(driver: Driver, device: Device) -> None:
    loose, tight = (driver.submit([0], method="bosh3", tolerance=tolerance) for tolerance in (1e-3, 1e-4))
    with device.broken("move", "bosh3"):
        driver.run()
    assert (loose.end, tight.end) == (End.failed, End.failed)
    assert driver.ended == [loose, tight]


def test_a_failure_in_flight_does_not_end_requests_that_come_later(driver: Driver, device: Device) -> None:
    first = driver.submit(range(2), method="bosh3", tolerance=1e-5)
    driver.iterate()
    with device.broken("step", "bosh3"):
        driver.iterate()
    second = driver.submit(range(2), method="bosh3", tolerance=1e-5)
    driver.run()
    assert first.end is End.failed
    assert_answered_as_alone(second)


def test_a_request_with_images_in_two_batches_ends_once_when_one_batch_fails() -> None:
    """A busy service solves some images of the request by a looser method, whose batch fails."""
    driver = timed()
    driver.limit_queue(1000, tolerance=1e-2)
    request = driver.submit(range(12), tolerance=1e-2, allow_degraded=True)
    driver.iterate()
    assert 0 < request.started < 12
    assert {candidate.method for candidate in request.chosen} == {"bosh3"}
    crowd = [driver.submit([0] * 12, tolerance=1e-2, allow_degraded=True) for _ in range(75)]
    with driver.device.broken("stem", "heun2"):
        driver.iterate_until(lambda: request.end)
        driver.run()
    assert "heun2" in {candidate.method for candidate in request.chosen}
    assert driver.ended[0] is request
    assert len(driver.ended) == 1 + len(crowd)
    assert request.end is End.failed


def test_a_lack_of_memory_ends_the_request_and_not_the_engine(driver: Driver, device: Device) -> None:
    fine = driver.submit([0], method="heun2")
    with device.broken("memory", "dopri5"):
        request = driver.submit([0], method="dopri5")
        driver.run()
    assert request.end is End.failed
    assert_answered_as_alone(fine)
    after = driver.submit([0], method="dopri5")
    driver.run()
    assert_answered_as_alone(after)
