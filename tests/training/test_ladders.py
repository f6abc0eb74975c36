"""Ladders: the threshold, the bound, and the choice among settings."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import beta

from models.artifact import Artifact, read
from models.backends.answer import Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import classify
from models.profile import Ladder, Profile
from models.solvers.settings import SolverSettings
from tests.artifacts import FAST
from training.data import Dataset
from training.ladders import CONFIDENCE, CURVE, EXPECTED_MISSES, agreement_bound, choose_threshold, measure_ladders
from training.profile import REFERENCE

LOOSE = SolverSettings.adaptive("heun2", 1.0)


@pytest.mark.parametrize("rows", [48, 5_000, 30_000])
def test_no_disagreement_does_not_prove_an_agreement_of_one(rows: int) -> None:
    """With no disagreement, the exact bound has a closed form."""
    assert agreement_bound(0, rows) == pytest.approx((1 - CONFIDENCE) ** (1 / rows))


@given(rows=st.integers(1, 10_000), share=st.floats(0, 0.2))
def test_the_bound_is_the_quantile_of_a_beta_distribution(rows: int, share: float) -> None:
    disagreements = int(share * rows)
    expected = beta.ppf(1 - CONFIDENCE, rows - disagreements, disagreements + 1)
    assert agreement_bound(disagreements, rows) == pytest.approx(float(expected), rel=1e-6)


def test_the_bound_holds_although_the_same_images_set_the_threshold() -> None:
    """We draw images of which 0.5 % disagree, with a margin from an exponential distribution, and set the threshold to
    the largest margin of a disagreeing image. The share of all images beyond the threshold is then known exactly."""
    rng, rows, rate, repetitions = np.random.default_rng(0), 1_000, 0.005, 4_000
    counts = rng.binomial(rows, rate, repetitions)
    beyond = np.array([rate * np.exp(-rng.exponential(size=count).max(initial=0)) for count in counts])
    held = (1 - beyond >= agreement_bound(0, rows)).mean()
    assert held == pytest.approx(CONFIDENCE, abs=0.02)


margins = st.lists(st.floats(0, 20, width=32), min_size=1, max_size=50).map(lambda values: np.array(values, np.float32))


@example(margins=np.array([0.65], np.float32), rows=3_679)
@given(margins=margins, rows=st.integers(50, 100_000))
def test_the_threshold_is_above_every_margin_and_leaves_a_small_tail(
    margins: np.ndarray[tuple[int], np.dtype[np.float32]], rows: int
) -> None:
    threshold = choose_threshold(margins, rows)
    assert threshold > margins.max()
    mean = float(margins.mean())
    if mean > 0:
        assert len(margins) / rows * np.exp(-threshold / mean) <= EXPECTED_MISSES * (1 + 1e-6)


@pytest.fixture(scope="module")
def shipped() -> tuple[Artifact, OnnxBackend]:
    """A shipped artifact whose loose solves give a few digits that differ from the reference's."""
    artifact = read(FAST)
    return artifact, OnnxBackend(FAST, artifact.manifest.methods)


@pytest.fixture(scope="module")
def images(shipped: tuple[Artifact, OnnxBackend], mnist: Dataset) -> Images:
    """Some of 2,000 validation digits, and all with a small margin, because only few of the others are doubtful."""
    validation = mnist.validation.images[:2_000].numpy()
    margins = classify(shipped[1], validation, LOOSE).margins
    return np.concatenate([validation[:60], validation[margins < 1.5]])


@pytest.fixture(scope="module")
def ladders(shipped: tuple[Artifact, OnnxBackend], images: Images) -> list[Ladder]:
    """The ladders that are measured on these digits."""
    artifact, backend = shipped
    assert artifact.profile is not None
    return measure_ladders(backend, images, artifact.profile.points)


@pytest.fixture(scope="module")
def climbing(ladders: list[Ladder]) -> Ladder:
    """The ladder of two rungs."""
    (ladder,) = (ladder for ladder in ladders if len(ladder.rungs) == 2)
    return ladder


def test_each_ladder_offers_more_than_every_cheaper_one(ladders: list[Ladder]) -> None:
    costs, bounds = [ladder.nfe.mean for ladder in ladders], [ladder.bound for ladder in ladders]
    assert costs == sorted(set(costs))
    assert bounds == sorted(set(bounds))
    (last,) = ladders[-1].rungs
    assert (last.solver, ladders[-1].bound) == (REFERENCE, 1)


def test_a_ladder_describes_what_its_rungs_give_the_images(
    shipped: tuple[Artifact, OnnxBackend], climbing: Ladder, images: Images
) -> None:
    loose, tight = climbing.rungs
    first, second, reference = (classify(shipped[1], images, each) for each in (loose.solver, tight.solver, REFERENCE))
    assert loose.threshold is not None
    assert (first.digits != reference.digits).any()
    again = first.margins < loose.threshold
    digits = np.where(again, second.digits, first.digits)
    assert 0 < climbing.escalated == again.mean() < 1
    assert climbing.agreement == (digits == reference.digits).mean() == 1
    assert climbing.bound == agreement_bound(0, climbing.rows)
    assert climbing.nfe.mean == pytest.approx((first.nfe + again * second.nfe).mean())
    assert climbing.rows == len(images)


def test_the_curve_rises_from_the_loose_solve_to_the_tight_one(climbing: Ladder) -> None:
    assert [point.threshold for point in climbing.curve] == list(CURVE)
    for column in ([point.agreement for point in climbing.curve], [point.nfe for point in climbing.curve]):
        assert column == sorted(column)
    assert climbing.curve[0].agreement < 1


def test_the_export_measures_the_ladders(artifact: Artifact, profile: Profile, few_digits: Dataset) -> None:
    backend, images = OnnxBackend(artifact.folder, artifact.manifest.methods), few_digits.validation.images.numpy()
    assert measure_ladders(backend, images, profile.points) == profile.ladders
