"""The classification of batches: every backend and every composition of the batch gives the same answer."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from models.backends.answer import Answer, Images
from models.backends.onnx import OnnxBackend
from models.backends.protocol import Backend, classify
from models.backends.torch import TorchBackend
from models.solvers.methods import METHODS
from models.solvers.settings import SolverSettings
from models.solvers.solve import Outcome

COUNTS = ("steps", "rejected", "nfe", "outcome")
SETTINGS = [
    SolverSettings(method="euler", steps=1),
    SolverSettings(method="midpoint", steps=3),
    SolverSettings(method="rk4", steps=2),
    SolverSettings.adaptive("heun2", 1e-1),
    SolverSettings.adaptive("bosh3", 1e-2),
    SolverSettings.adaptive("dopri5", 1e-3),
    SolverSettings(method="dopri5", rtol=1e-1, atol=1e-4),
    SolverSettings.adaptive("tsit5", 1e-3),
]
every_setting = pytest.mark.parametrize("solver", SETTINGS, ids=str)


@pytest.fixture(params=["onnxruntime", "torch"])
def backend(request: pytest.FixtureRequest, onnx_backend: OnnxBackend, torch_backend: TorchBackend) -> Backend:
    """Each backend."""
    return onnx_backend if request.param == "onnxruntime" else torch_backend


def assert_same(one: Answer, other: Answer) -> None:
    """Assert that two answers are equal, except for the rounding of logits and error estimates."""
    assert_allclose(one.logits, other.logits, rtol=0, atol=1e-4)
    assert_array_equal(one.digits, other.digits)
    for name in COUNTS:
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert_allclose(one.error_estimate, other.error_estimate, rtol=1e-2, atol=1e-6)


def rows_of(answer: Answer, rows: slice) -> Answer:
    return Answer._make(column[rows] for column in answer)


def test_the_settings_cover_every_method() -> None:
    assert {solver.method for solver in SETTINGS} == set(METHODS)


@every_setting
def test_the_backends_give_the_same_answer(
    onnx_backend: OnnxBackend, torch_backend: TorchBackend, digits: Images, solver: SolverSettings
) -> None:
    assert_same(classify(onnx_backend, digits, solver), classify(torch_backend, digits, solver))


@every_setting
def test_the_batch_size_does_not_change_the_answer(backend: Backend, digits: Images, solver: SolverSettings) -> None:
    whole = classify(backend, digits, solver)
    for batch_size in (1, 7, len(digits), 1000):
        assert_same(classify(backend, digits, solver, batch_size), whole)


@every_setting
def test_other_images_in_the_batch_do_not_change_the_answer(
    backend: Backend, digits: Images, solver: SolverSettings
) -> None:
    """Neither the order of the images matters, nor the other images: noise, a blank picture, a duplicate."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    whole = classify(backend, digits, solver)
    backwards = classify(backend, np.ascontiguousarray(digits[::-1]), solver)
    assert_same(rows_of(backwards, slice(None, None, -1)), whole)
    among = classify(backend, np.concatenate([noise, digits[:4], np.zeros_like(noise), digits[:1]]), solver)
    assert_same(rows_of(among, slice(3, 7)), rows_of(whole, slice(4)))
    assert_same(rows_of(among, slice(-1, None)), rows_of(whole, slice(1)))


@every_setting
def test_the_answer_has_the_documented_types_and_shapes(
    backend: Backend, digits: Images, solver: SolverSettings
) -> None:
    answer = classify(backend, digits[:5], solver, batch_size=2)
    assert answer.logits.shape == answer.probabilities(1.0).shape == (5, 10)
    assert answer.logits.dtype == answer.probabilities(1.0).dtype == answer.error_estimate.dtype == np.float32
    for name in COUNTS:
        assert getattr(answer, name).shape == (5,)
        assert getattr(answer, name).dtype == np.int64
    assert answer.error_estimate.shape == (5,)
    assert answer.outcome.tolist() == [Outcome.converged] * 5


@every_setting
def test_the_counts_follow_from_the_tableau_of_the_method(
    backend: Backend, digits: Images, solver: SolverSettings
) -> None:
    answer, tableau = classify(backend, digits, solver), METHODS[solver.method]
    assert_array_equal(answer.nfe, tableau.evaluations_to_start + answer.steps * tableau.evaluations_per_step)
    assert (answer.rejected < answer.steps).all()
    if solver.steps is not None:
        assert set(answer.steps.tolist()) == {solver.steps}
        assert not answer.error_estimate.any()
    else:
        assert (answer.error_estimate > 0).all()


def test_both_tolerances_change_the_cost(backend: Backend, digits: Images) -> None:
    """The solve becomes cheaper if either of two tight tolerances is loosened."""
    tight, relative, absolute = (
        classify(backend, digits, SolverSettings(method="bosh3", rtol=rtol, atol=atol)).nfe.sum()
        for rtol, atol in ((1e-5, 1e-5), (1e-1, 1e-5), (1e-5, 1e-1))
    )
    assert relative < tight
    assert absolute < tight


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_probabilities_are_the_softmax_of_the_logits_divided_by_the_temperature(
    backend: Backend, digits: Images, temperature: float
) -> None:
    answer = classify(backend, digits, SETTINGS[0])
    probabilities = answer.probabilities(temperature)
    assert_allclose(probabilities.sum(axis=1), np.ones(len(digits)), rtol=1e-5)
    ratios = np.log(probabilities) - answer.logits / temperature
    assert_allclose(ratios, np.broadcast_to(ratios[:, :1], ratios.shape), atol=1e-5)
    assert_array_equal(probabilities.argmax(axis=1), answer.digits)


def test_probabilities_of_large_logits_are_finite() -> None:
    logits = np.array([[1000, -1000], [0, 88.8]], np.float32)
    zeros = np.zeros(2, np.int64)
    answer = Answer(logits, zeros, zeros, zeros, np.zeros(2, np.float32), zeros)
    assert_allclose(answer.probabilities(0.05), [[1, 0], [0, 1]], atol=1e-6)
    assert answer.digits.tolist() == [0, 1]


def test_classify_does_not_change_the_images(backend: Backend, digits: Images) -> None:
    before = digits.copy()
    classify(backend, digits, SETTINGS[4])
    assert_array_equal(digits, before)


def test_several_threads_may_classify_at_the_same_time(backend: Backend, digits: Images) -> None:
    """Each thread has different images and settings and gets the same answer as alone."""
    work = [(digits[start : start + 3], solver) for start in range(0, 12, 3) for solver in SETTINGS]
    alone = [classify(backend, images, solver) for images, solver in work]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda each: classify(backend, *each), work))
    for one, other in zip(together, alone, strict=True):
        assert_same(one, other)


def test_the_margin_is_the_difference_of_the_two_greatest_logits() -> None:
    zeros = np.zeros(3, np.int64)
    logits = np.array([[1, 5, 3], [2, 2, 0], [np.nan, 1, 0]], np.float32)
    answer = Answer(logits, zeros, zeros, zeros, zeros.astype(np.float32), zeros)
    np.testing.assert_array_equal(answer.margins, np.array([2, 0, np.nan], np.float32))
