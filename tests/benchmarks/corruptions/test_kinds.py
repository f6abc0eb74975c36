"""The 26 kinds of corruption: each does what its name says, and the digit stays recognisable."""

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.corruptions.kinds import CHOSEN, KINDS, corrupt
from benchmarks.corruptions.measure import answer, open_networks
from models.backends.answer import Images
from tests.digits import load_test_set
from tests.examples import examples
from tests.pictures import correlation
from tests.serving import FITTED

DIGITS, LABELS = (column[:64] for column in load_test_set())
MOVED = {"shear", "scale", "rotate", "translate", "elastic transform"}
MIN_CORRELATION = {  # the smallest mean correlation, for kinds that do not move the ink
    "shot noise": 0.8,
    "impulse noise": 0.6,
    "glass blur": 0.75,
    "motion blur": 0.65,
    "brightness": 0.9,
    "fog": 0.7,
    "spatter": 0.85,
    "dotted line": 0.85,
    "zigzag": 0.8,
    "gaussian noise": 0.6,
    "speckle noise": 0.8,
    "defocus blur": 0.7,
    "zoom blur": 0.8,
    "snow": 0.85,
    "contrast": 0.99,
    "jpeg compression": 0.9,
    "pixelate": 0.8,
    "quantize": 0.9,
}
DETERMINISTIC = {
    "scale", "brightness", "stripe", "canny edges", "defocus blur", "zoom blur", "contrast", "jpeg compression",
    "pixelate", "quantize", "inverse",
}  # fmt: skip
COLUMNS = np.arange(28)


def bar() -> Images:
    """A white vertical bar in the middle, 4 pixels wide."""
    image = np.zeros((1, 28, 28), np.uint8)
    image[:, 4:24, 12:16] = 255
    return image


def centre_of_mass(image: Images) -> npt.NDArray[np.float64]:
    positions = np.indices(image.shape)
    centre: npt.NDArray[np.float64] = (positions * image).sum(axis=(1, 2)) / image.sum()
    return centre


def lean(image: Images) -> float:
    """The angle between the vertical and the axis of the ink's greatest spread, in radians."""
    down, right = (
        position - middle for position, middle in zip(np.indices(image.shape), centre_of_mass(image), strict=True)
    )
    spread_down, spread_right, both = (
        float((image * a * b).sum()) for a, b in ((down, down), (right, right), (down, right))
    )
    return float(np.arctan2(2 * both, spread_down - spread_right) / 2)


def test_there_are_26_kinds_and_15_of_them_are_mnist_c() -> None:
    assert len(KINDS) == 26
    assert len(CHOSEN) == 15


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_changes_every_digit_and_keeps_shape_and_dtype(kind: str) -> None:
    corrupted = corrupt(kind, DIGITS, seed=0)
    assert corrupted.shape == DIGITS.shape
    assert corrupted.dtype == np.uint8
    assert (corrupted != DIGITS).any(axis=(1, 2)).all()


@pytest.mark.parametrize("kind", KINDS)
@given(images=hnp.arrays(np.uint8, st.tuples(st.integers(1, 2), st.just(28), st.just(28))), seed=st.integers(0, 2**32))
@examples(0.1)
def test_the_same_seed_corrupts_any_image_in_the_same_way(kind: str, images: Images, seed: int) -> None:
    before = images.copy()
    corrupted = corrupt(kind, images, seed)
    assert corrupted.shape == images.shape
    assert np.array_equal(corrupted, corrupt(kind, images, seed))
    assert np.array_equal(images, before)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - DETERMINISTIC))
def test_randomness_differs_between_seeds_and_between_rows(kind: str) -> None:
    twins = np.repeat(DIGITS[:1], 32, axis=0)
    corrupted = corrupt(kind, twins, seed=0)
    assert not np.array_equal(corrupted, corrupt(kind, twins, seed=1))
    assert len(np.unique(corrupted, axis=0)) > 1


@pytest.mark.parametrize("kind", sorted(DETERMINISTIC))
def test_a_deterministic_kind_treats_each_digit_of_a_batch_alone(kind: str) -> None:
    together = corrupt(kind, DIGITS[:8], seed=0)
    alone = [corrupt(kind, DIGITS[row : row + 1], seed=1)[0] for row in range(8)]
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("kind", MIN_CORRELATION)
def test_a_digit_that_is_not_moved_still_resembles_itself(kind: str) -> None:
    correlations = [correlation(*pair) for pair in zip(DIGITS, corrupt(kind, DIGITS, seed=0), strict=True)]
    assert np.mean(correlations) >= MIN_CORRELATION[kind]
    assert min(correlations) >= 0.4


def test_a_digit_that_is_moved_is_still_classified_correctly() -> None:
    [network] = [network for network in open_networks(FITTED) if network.name == "resnet"]
    for kind in MOVED:
        [digits] = answer(network, corrupt(kind, DIGITS, seed=0))
        assert (digits == LABELS).mean() >= 0.9, kind


def test_every_kind_has_a_test_of_resemblance_or_of_classification_or_a_specific_test() -> None:
    assert KINDS.keys() - MIN_CORRELATION - MOVED == {"stripe", "inverse", "canny edges"}


def test_gaussian_noise_has_a_standard_deviation_of_038() -> None:
    grey = np.full((50, 28, 28), 128, np.uint8)
    noisy = corrupt("gaussian noise", grey, seed=0)
    assert (noisy < 128 - 0.38 * 255).mean() == pytest.approx(0.159, abs=0.01)  # one standard deviation below


def test_shot_noise_counts_three_photons_for_white() -> None:
    noisy = corrupt("shot noise", np.full((50, 28, 28), 255, np.uint8), seed=0)
    assert np.unique(noisy).tolist() == [0, 85, 170, 255]
    assert (noisy == 0).mean() == pytest.approx(np.exp(-3), abs=0.005)


def test_impulse_noise_replaces_17_percent_of_the_pixels() -> None:
    noisy = corrupt("impulse noise", np.full((50, 28, 28), 128, np.uint8), seed=0)
    assert [(noisy == level).mean() for level in (0, 255)] == pytest.approx([0.085, 0.085], abs=0.01)
    assert (noisy == 128).mean() == pytest.approx(0.83, abs=0.01)


def test_speckle_noise_does_not_change_black() -> None:
    assert not corrupt("speckle noise", np.zeros((1, 28, 28), np.uint8), seed=0).any()


@pytest.mark.parametrize("kind", ["glass blur", "defocus blur", "motion blur"])
def test_blur_keeps_the_ink_and_softens_it(kind: str) -> None:
    blurred = corrupt(kind, bar(), seed=0)
    assert float(blurred.sum()) == pytest.approx(float(bar().sum()), rel=0.05)
    assert (blurred == 255).sum() < (bar() == 255).sum() / 2


def test_defocus_turns_a_point_into_a_disk() -> None:
    point = np.zeros((1, 28, 28), np.uint8)
    point[0, 14, 14] = 255
    rows, columns = np.nonzero(corrupt("defocus blur", point, seed=0)[0])
    assert (np.hypot(rows - 14, columns - 14) <= 3).all()
    assert len(rows) == 29


def test_zoom_blur_keeps_the_centre_sharper_than_the_edge() -> None:
    lines = np.zeros((1, 28, 28), np.uint8)
    lines[0, :, 1::4] = 255
    contrast = np.ptp(corrupt("zoom blur", lines, seed=0)[0, 14].reshape(7, 4), axis=1)
    assert contrast[3] > 1.5 * contrast[0]


def test_shear_and_rotation_tilt_a_bar_to_either_side() -> None:
    bars = np.repeat(bar(), 16, axis=0)
    for kind, angle in (("shear", np.arctan(0.4)), ("rotate", 0.4)):
        leans = [lean(image) for image in corrupt(kind, bars, seed=0)]
        assert np.abs(leans) == pytest.approx(angle, abs=0.03), kind
        assert min(leans) < 0 < max(leans), kind


def test_scale_shrinks_to_seven_tenths() -> None:
    shrunk = corrupt("scale", bar(), seed=0)[0] > 127
    assert shrunk.any(axis=1).sum() == 14
    assert shrunk.any(axis=0).sum() in {2, 3}


def test_translation_moves_three_pixels_in_both_directions() -> None:
    bars = np.repeat(bar(), 32, axis=0)
    moves = [
        np.round(centre_of_mass(image) - centre_of_mass(bar()[0]), 6) for image in corrupt("translate", bars, seed=0)
    ]
    assert {tuple(move) for move in moves} == {(3, 3), (3, -3), (-3, 3), (-3, -3)}


def test_brightness_is_added_and_clipped_at_white() -> None:
    image = np.arange(784, dtype=np.uint8).reshape(1, 28, 28)
    assert np.abs(corrupt("brightness", image, seed=0) - np.minimum(image + 127.5, 255)).max() <= 0.5


def test_contrast_falls_to_a_tenth() -> None:
    flat = corrupt("contrast", DIGITS, seed=0)
    assert flat.mean(axis=(1, 2)) == pytest.approx(DIGITS.mean(axis=(1, 2)), abs=0.5)
    assert flat.std(axis=(1, 2)) == pytest.approx(DIGITS.std(axis=(1, 2)) / 10, abs=0.5)


def test_fog_reduces_the_contrast_to_a_quarter_over_an_uneven_background() -> None:
    fog = corrupt("fog", np.repeat(bar(), 64, axis=0), seed=0).astype(float)
    inside, outside = fog[:, 8:20, 13:15].mean(axis=(1, 2)), fog[:, 8:20, [9, 10, 17, 18]].mean(axis=(1, 2))
    assert (inside - outside).mean() == pytest.approx(255 / 4, abs=5)
    assert np.ptp(outside) > 50


def test_snow_brightens_the_paper_and_draws_vertical_streaks() -> None:
    paper = corrupt("snow", np.zeros((64, 28, 28), np.uint8), seed=0).astype(float)
    assert paper.min() >= 57  # 0.45 * 0.5 of the range
    down, across = (np.abs(np.diff(paper, axis=axis)).mean() for axis in (1, 2))
    assert down < across


def test_spatter_covers_ink_with_dark_blotches() -> None:
    muddy = corrupt("spatter", np.repeat(bar(), 64, axis=0), seed=0)
    assert muddy[:, :, :10].max() <= 63
    assert 0.1 < (muddy[:, :, :10] > 0).mean() < 0.4
    assert 0.1 < (muddy[:, 4:24, 12:16] < 128).mean() < 0.4


def test_a_dotted_line_shows_in_every_other_pair_of_columns() -> None:
    lines = corrupt("dotted line", np.zeros((16, 28, 28), np.uint8), seed=0)
    drawn = (lines > 127).any(axis=1)
    assert (drawn == (COLUMNS % 4 >= 2)).all()


def test_a_zigzag_goes_up_and_down_by_two_pixels() -> None:
    lines = corrupt("zigzag", np.zeros((64, 28, 28), np.uint8), seed=0).astype(float)
    whole = lines[(lines[:, [0, 1, 26, 27]] == 0).all(axis=(1, 2)) & (lines[:, :, 2:26].max(axis=1) > 120).all(axis=1)]
    heights = whole.argmax(axis=1)[:, 4:24:8], whole.argmax(axis=1)[:, 8:24:8]
    assert len(whole) > 20
    assert ((heights[1] - heights[0][:, :2]) >= 2).all()


def test_stripes_are_inverted_except_in_the_middle() -> None:
    striped = corrupt("stripe", DIGITS, seed=0)
    assert np.array_equal(striped[:, :, 7:21], DIGITS[:, :, 7:21])
    for side in (slice(None, 7), slice(21, None)):
        assert np.array_equal(striped[:, :, side], 255 - DIGITS[:, :, side])


def test_inverse_is_black_on_white() -> None:
    assert np.array_equal(corrupt("inverse", DIGITS, seed=0), 255 - DIGITS)


def test_quantize_leaves_only_black_and_white() -> None:
    assert np.array_equal(corrupt("quantize", DIGITS, seed=0), np.where(DIGITS > 127, 255, 0))


def test_pixelate_keeps_the_mean_and_uses_eleven_pixels_per_side() -> None:
    edge = np.zeros((1, 28, 28), np.uint8)
    edge[:, :, 14:] = 255
    pixels = corrupt("pixelate", edge, seed=0)
    assert np.unique(pixels[0, 14]).tolist() == sorted({0, *np.unique(pixels[0, 14, 12:16]), 255})
    assert pixels.mean() == pytest.approx(edge.mean(), abs=1)
    assert len(np.unique(pixels[0], axis=0)) == 1


def test_jpeg_removes_high_frequencies() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    assert (
        np.abs(np.diff(corrupt("jpeg compression", noise, 0).astype(float))).mean()
        < np.abs(np.diff(noise.astype(float))).mean()
    )


def test_canny_edges_draw_the_outline_of_a_bar_one_pixel_wide() -> None:
    edges = corrupt("canny edges", bar(), seed=0)[0]
    assert set(np.unique(edges)) == {0, 255}
    assert (edges[8:20] == 255).sum(axis=1).tolist() == [2] * 12
    assert not edges[:, :10].any()
    assert not edges[8:20, 13:15].any()
