"""The simulated autoscalers obey Kubernetes' rules, and no image disappears."""

import math

import pytest

from benchmarks.autoscaling import (
    CAPACITY,
    DOWN_STABLE,
    LEAST,
    MOST,
    SCALERS,
    SYNC_SECONDS,
    Autoscaler,
    Reading,
    by_processors,
    simulate,
)


@pytest.mark.parametrize("name", SCALERS)
def test_every_image_is_answered_refused_or_still_queued(name: str) -> None:
    outcome = simulate(SCALERS[name])
    assert math.isclose(outcome.arrived, outcome.served + outcome.shed + outcome.left, rel_tol=1e-9)


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
