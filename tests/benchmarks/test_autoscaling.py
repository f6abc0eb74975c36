"""The simulated autoscalers obey Kubernetes' rules, and no image disappears."""

import math

import pytest

from benchmarks.autoscaling import (
    BURST_AT,
    BURST_END,
    CAPACITY,
    DOWN_STABLE,
    END,
    LEAST,
    MOST,
    SCALERS,
    SYNC_SECONDS,
    TICK,
    Autoscaler,
    Fleet,
    Reading,
    by_processors,
    simulate,
)


def test_every_image_is_answered_refused_or_still_queued() -> None:
    fleet, arrived, answered, refused = Fleet(), 0.0, 0.0, 0.0
    for number, replicas in enumerate([2] * 200 + [8] * 400 + [3] * 200):
        fleet.scale(number * TICK, replicas)
        served, shed = fleet.tick(number * TICK, arriving := 5 * CAPACITY * TICK)
        arrived, answered, refused = arrived + arriving, answered + served, refused + shed
    assert min(answered, refused, fleet.queued) > 0
    assert math.isclose(arrived, answered + refused + fleet.queued, rel_tol=1e-9)


def test_every_image_that_arrives_before_in_and_after_the_burst_counts() -> None:
    burst = BURST_END - BURST_AT
    outcome = simulate(SCALERS["processor time (base)"], calm=100, burst=1000)
    assert math.isclose(outcome.arrived, 100 * (END - burst) + 1000 * burst, rel_tol=1e-9)


@pytest.mark.parametrize("name", SCALERS)
def test_a_burst_that_the_least_replicas_can_answer_costs_nothing(name: str) -> None:
    outcome = simulate(SCALERS[name], calm=100, burst=0.5 * LEAST * CAPACITY)
    assert (outcome.shed, outcome.longest_wait, outcome.enough) == (0, 0, 0)


def test_a_burst_beyond_the_most_replicas_never_has_enough() -> None:
    outcome = simulate(SCALERS["processor time (base)"], burst=2 * MOST * CAPACITY)
    assert outcome.enough is None
    assert outcome.shed > 0


def test_replicas_at_most_double_in_a_period_and_stop_at_the_limit() -> None:
    scaler, seen = Autoscaler((by_processors,)), []
    for number in range(6):
        scaler.decide(number * SYNC_SECONDS, Reading(scaler.replicas, 50.0, 0, 0))
        seen.append(scaler.replicas)
    assert seen == [4, 8, 16, MOST, MOST, MOST]


def test_replicas_fall_only_after_the_stabilization() -> None:
    scaler = Autoscaler((by_processors,))
    scaler.decide(0, Reading(LEAST, 1.4, 0, 0))
    assert scaler.replicas == 2 * LEAST
    for number in range(1, round(DOWN_STABLE / SYNC_SECONDS) + 1):
        scaler.decide(number * SYNC_SECONDS, Reading(scaler.replicas, 0.1, 0, 0))
        assert scaler.replicas == 2 * LEAST
    scaler.decide(DOWN_STABLE + SYNC_SECONDS, Reading(scaler.replicas, 0.1, 0, 0))
    assert scaler.replicas == 3, "by a quarter at a time"


def test_a_small_difference_changes_nothing() -> None:
    scaler = Autoscaler((by_processors,), replicas=4)
    scaler.decide(0, Reading(4, 0.7 * 1.09, 0, 0))
    assert scaler.replicas == 4
