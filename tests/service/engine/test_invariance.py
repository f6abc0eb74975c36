"""Each image gets the answer that it gets alone, bit for bit, in any batch with other images."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.engine.request import End, EngineRequest, Priority
from tests.examples import examples
from tests.service.engine.driving import Driver, assert_answered_as_alone, doubtful_digits, served

QUEUE_SECONDS = 0.05
"""A short queue, so that requests find the service busy, and answers are degraded."""

MODELS = ("odenet-mnist", "odenet-mnist-fast", "mlp")

tolerance = st.sampled_from([1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5])
adaptive = st.sampled_from(["heun2", "bosh3", "dopri5", "tsit5"])
allowed = st.sampled_from([None, True, False])
fields = st.one_of(
    st.fixed_dictionaries({"tolerance": tolerance, "allow_degraded": allowed}, optional={"method": adaptive}),
    st.fixed_dictionaries({"rtol": tolerance, "atol": tolerance, "method": adaptive}),
    st.fixed_dictionaries(
        {
            "method": st.sampled_from(["euler", "midpoint", "rk4"]),
            "steps": st.integers(1, 5),
            "allow_degraded": allowed,
        }
    ),
    st.fixed_dictionaries({}, optional={"method": adaptive, "deadline_ms": st.just(600_000)}),
    st.fixed_dictionaries({}, optional={"agreement": st.sampled_from([0.99, 0.999]), "allow_degraded": allowed}),
)
digits = st.lists(st.one_of(st.integers(0, 30), st.sampled_from(doubtful_digits())), min_size=1, max_size=12)


@dataclass(frozen=True)
class Ask:
    model: str
    digits: list[int]
    priority: Priority
    caller: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Cancel:
    """Cancel the request that came `back` requests before the last."""

    back: int


@dataclass(frozen=True)
class Iterations:
    times: int


asks = st.builds(
    Ask,
    model=st.sampled_from(MODELS),
    digits=digits,
    priority=st.sampled_from(Priority),
    caller=st.sampled_from(["anna", "ben"]),
    fields=fields,
)
events = st.one_of(asks, asks, st.builds(Iterations, st.integers(1, 4)), st.builds(Cancel, st.integers(1, 4)))


@examples(1.2)
@given(events=st.lists(events, min_size=8, max_size=30))
def test_each_image_gets_the_answer_that_it_gets_alone(events: list[Ask | Cancel | Iterations]) -> None:
    models = {name: served(name) for name in MODELS}
    driver = Driver(models["odenet-mnist"], QUEUE_SECONDS, iteration_seconds=1e-3)
    requests: list[EngineRequest] = []
    cancelled = set()
    for event in events:
        if isinstance(event, Iterations):
            driver.iterate(event.times)
        elif isinstance(event, Cancel):
            number = len(requests) - event.back
            if number >= 0 and not requests[number].end:
                driver.scheduler.end(requests[number], End.cancelled)
                cancelled.add(number)
        else:
            asked = {} if event.model == "mlp" else event.fields
            options = {"model": models[event.model], "priority": event.priority, "caller": event.caller, **asked}
            demand = driver.request(event.digits, **options).demand
            if driver.admission.wait(demand) <= QUEUE_SECONDS:
                requests.append(driver.submit(event.digits, **options))
    driver.run()
    assert len(driver.ended) == len(requests)
    for number, request in enumerate(requests):
        if number in cancelled:
            assert request.end is End.cancelled
        else:
            assert_answered_as_alone(request)
