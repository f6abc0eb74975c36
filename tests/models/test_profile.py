"""The choice of a method from a measured trade-off."""

import pytest

from models.profile import Distribution, Profile, ProfilePoint
from models.solvers.settings import SolverSettings


def point(method: str, tolerance: float, evaluations: float, agreement: float) -> ProfilePoint:
    """A measured point, with the fields that the choice does not read."""
    return ProfilePoint(
        solver=SolverSettings.adaptive(method, tolerance),
        error=0.004,
        agreement=agreement,
        logit_deviation=0.1,
        nfe=Distribution(mean=evaluations, p50=7, p90=7, p99=7, max=7),
        rejected=0,
        unconverged=0,
        milliseconds_per_row=1,
    )


def profile(*points: ProfilePoint) -> Profile:
    reference = SolverSettings.adaptive("dopri5", 1e-6)
    return Profile(
        split="validation", rows=5_000, batch_size=64, processor="none", reference=reference, points=list(points)
    )


def test_a_tolerance_gets_the_method_with_the_fewest_evaluations() -> None:
    measured = profile(
        point("bosh3", 0.1, 4, 0.9),
        point("dopri5", 0.1, 7, 1),
        point("bosh3", 1e-5, 75, 1),
        point("dopri5", 1e-5, 53, 1),
    )
    assert measured.method_for(0.1) == "bosh3"
    assert measured.method_for(1e-5) == "dopri5"


@pytest.mark.parametrize(("evaluations", "method"), [(7.07, "bosh3"), (7.08, "dopri5")])
def test_of_equally_cheap_methods_a_tolerance_gets_the_one_that_agrees_most_often(
    evaluations: float, method: str
) -> None:
    measured = profile(point("dopri5", 0.01, 7, 0.9972), point("bosh3", 0.01, evaluations, 1))
    assert measured.method_for(0.01) == method


def test_a_tolerance_gets_the_method_of_the_nearest_measured_tolerance() -> None:
    measured = profile(point("heun2", 1, 2, 1), point("dopri5", 0.01, 7, 1))
    assert measured.method_for(0.11) == "heun2"
    assert measured.method_for(0.09) == "dopri5"
    assert measured.method_for(1e-9) == "dopri5"
