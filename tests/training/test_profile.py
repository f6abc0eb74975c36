"""The work-precision table: its measurements, and the choice of the default solver."""

import numpy as np
import pytest

from models.artifact import Artifact
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.profile import Distribution, Profile, ProfilePoint
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from tests.fixtures import ADAPTIVE, PROFILED
from training.data import Dataset
from training.profile import BATCH_SIZE, REFERENCE, STEPS, TOLERANCES, collect, settings


def point(solver: SolverSettings, nfe: float, agreement: float, unconverged: int = 0) -> ProfilePoint:
    """A point with the given values; the other fields have arbitrary values."""
    return ProfilePoint(
        solver=solver,
        error=0.1,
        agreement=agreement,
        logit_deviation=0.5,
        nfe=Distribution(mean=nfe, p50=1, p90=2, p99=3, max=4),
        rejected=0,
        unconverged=unconverged,
        milliseconds_per_row=1,
    )


def dopri5(tolerance: float) -> SolverSettings:
    return SolverSettings.adaptive("dopri5", tolerance)


def test_the_table_has_every_setting_of_every_method_once() -> None:
    table = settings()
    assert len(set(table)) == len(table) == 4 * 8 + 3 * 5
    assert {solver.method for solver in table} == set(METHODS)
    for name, method in METHODS.items():
        of_method = [solver for solver in table if solver.method == name]
        if method.adaptive:
            assert [(solver.rtol, solver.atol) for solver in of_method] == [(t, t) for t in TOLERANCES]
        else:
            assert [solver.steps for solver in of_method] == list(STEPS)


def test_the_tightest_of_equally_good_settings_is_chosen() -> None:
    profile = collect([point(dopri5(tolerance), 7, 1.0) for tolerance in (1e1, 1e-1, 1e0)], rows=1000)
    assert profile.cheapest(ADAPTIVE) == dopri5(1e-1)


def test_the_cheapest_setting_that_agrees_is_chosen() -> None:
    table = [point(dopri5(1e1), 7, 0.9), point(dopri5(1e-1), 14, 0.9989), point(dopri5(1e-2), 20, 0.999)]
    profile = collect([*table, point(dopri5(1e-3), 30, 1.0)], rows=1000)
    assert profile.cheapest(ADAPTIVE) == dopri5(1e-2)


def test_the_setting_that_agrees_best_is_chosen_at_equal_cost() -> None:
    profile = collect([point(dopri5(10.0**-n), 7, 0.999 + n / 10_000) for n in (0, 3, 2)], rows=1000)
    assert profile.cheapest(ADAPTIVE) == dopri5(1e-3)


def test_only_the_given_methods_are_considered() -> None:
    euler = SolverSettings(method="euler", steps=1)
    profile = collect([point(euler, 1, 1.0), point(dopri5(1e-3), 30, 1.0)], rows=1000)
    assert profile.cheapest(ADAPTIVE) == dopri5(1e-3)
    assert profile.cheapest(["euler"]) == euler


def test_the_setting_that_agrees_best_is_chosen_if_none_agrees_enough() -> None:
    profile = collect([point(dopri5(1e-1), 7, 0.8), point(dopri5(1e-2), 14, 0.95)], rows=1000)
    assert profile.cheapest(ADAPTIVE) == dopri5(1e-2)


@pytest.fixture(scope="module")
def profile(artifact: Artifact) -> Profile:
    """The profile that the export measured."""
    assert artifact.profile is not None
    return artifact.profile


def test_the_profile_describes_its_measurement(profile: Profile, few_digits: Dataset) -> None:
    assert profile.split == "validation"
    assert profile.rows == len(few_digits.validation.labels)
    assert profile.batch_size == BATCH_SIZE
    assert profile.reference == REFERENCE
    assert [measured.solver for measured in profile.points] == PROFILED


@pytest.mark.parametrize(
    "solver", [SolverSettings(method="euler", steps=2), SolverSettings.adaptive("heun2", 1e-1)], ids=str
)
def test_a_point_agrees_with_the_answers_of_the_backend(
    artifact: Artifact, profile: Profile, few_digits: Dataset, solver: SolverSettings
) -> None:
    (measured,) = (candidate for candidate in profile.points if candidate.solver == solver)
    backend = OnnxBackend(artifact.folder, [solver.method, REFERENCE.method])
    images, labels = (column.numpy() for column in few_digits.validation)
    answer, reference = (classify(backend, images, each, BATCH_SIZE) for each in (solver, REFERENCE))
    same = sum(int(one == other) for one, other in zip(answer.digits, reference.digits, strict=True))
    wrong = sum(int(one != other) for one, other in zip(answer.digits, labels, strict=True))
    assert same < len(labels) or answer.rejected.any(), "this test needs a disagreement or a rejected step"
    assert measured.agreement == pytest.approx(same / len(labels))
    assert measured.error == pytest.approx(wrong / len(labels))
    assert measured.rejected == pytest.approx(answer.rejected.mean())
    deviations = [np.abs(one - other).max() for one, other in zip(answer.logits, reference.logits, strict=True)]
    assert measured.logit_deviation == pytest.approx(np.mean(deviations), rel=1e-3)
    in_order = sorted(answer.nfe.tolist())
    assert measured.nfe.mean == pytest.approx(np.mean(in_order))
    assert (measured.nfe.p50, measured.nfe.max) == (in_order[len(in_order) // 2], in_order[-1])
    assert measured.nfe.p50 <= measured.nfe.p90 <= measured.nfe.p99 <= measured.nfe.max


def test_the_reference_agrees_perfectly_with_itself(profile: Profile) -> None:
    (measured,) = (candidate for candidate in profile.points if candidate.solver == REFERENCE)
    assert measured.agreement == 1
    assert measured.logit_deviation == pytest.approx(0, abs=1e-5)


def test_a_tighter_tolerance_costs_more_and_deviates_less(profile: Profile) -> None:
    for method in ADAPTIVE:
        of_method = [measured for measured in profile.points if measured.solver.method == method]
        costs = [measured.nfe.mean for measured in of_method]
        assert costs == sorted(costs), method
        loose, tight = of_method[0], of_method[-1]
        assert tight.logit_deviation < 0.01 * loose.logit_deviation, method
        assert all(measured.milliseconds_per_row > 0 for measured in of_method)
