"""Soft, faint, small, framed and touching digits become clean digits. A picture with several digits is refused."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFilter

from service.images.errors import BlankPictureError, SeveralDigitsError
from service.images.normalise import to_mnist
from tests.examples import examples
from tests.pictures import DIGITS, Pixels, correlation, on_paper

PEN = 16
Line = list[tuple[int, int]]
TWO: list[Line] = [[(105, 100), (115, 45), (160, 25), (195, 60), (180, 110), (105, 230)], [(105, 230), (215, 230)]]


def drawn(lines: list[Line], size: tuple[int, int] = (280, 280), paper: int = 217, ink: int = 93) -> Pixels:
    """Lines that a round pen draws on a paper."""
    canvas = Image.new("L", size, paper)
    draw = ImageDraw.Draw(canvas)
    for line in lines:
        draw.line(line, fill=ink, width=PEN, joint="curve")
        for x, y in line:
            draw.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill=ink)
    return np.asarray(canvas)


def blurred(picture: Pixels, radius: float) -> Pixels:
    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(radius)))


def noisy(picture: Pixels, deviation: float) -> Pixels:
    noise = np.random.default_rng(0).normal(0, deviation, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def alike(one: Pixels, other: Pixels) -> float:
    """The best correlation of two digits over shifts by up to a pixel, because the centre of mass is rounded."""
    return max(correlation(np.roll(one, (down, right), (0, 1)), other) for down in (-1, 0, 1) for right in (-1, 0, 1))


CLEAN = to_mnist(drawn(TWO))


@pytest.mark.parametrize("side", [28, 29, 44, 56, 80, 200])
def test_a_photograph_on_grey_paper_is_the_same_digit_at_every_size(side: int) -> None:
    reduced = np.asarray(Image.fromarray(drawn(TWO)).resize((side, side), Image.Resampling.BOX))
    assert alike(to_mnist(noisy(reduced, 6)), CLEAN) > 0.75


def test_a_foot_on_the_edge_of_the_picture_stays() -> None:
    cut = drawn(TWO)[:235]
    for turns in range(4):
        turned = np.rot90(to_mnist(np.rot90(cut, turns)), -turns)
        assert alike(turned, to_mnist(cut)) > 0.8
    assert alike(to_mnist(noisy(cut, 2)), CLEAN) > 0.8


@pytest.mark.parametrize("radius", [4, 8, 12])
def test_soft_digits_are_found(radius: float) -> None:
    assert alike(to_mnist(noisy(blurred(drawn(TWO), radius), 1)), CLEAN) > 0.7


@pytest.mark.parametrize("contrast", [5, 10, 24, 60])
def test_faint_digits_are_found(contrast: int) -> None:
    assert alike(to_mnist(drawn(TWO, paper=200, ink=200 - contrast)), CLEAN) > 0.97


def test_a_faint_digit_is_found_in_noise() -> None:
    assert alike(to_mnist(noisy(drawn(TWO, paper=200, ink=185), 3)), CLEAN) > 0.9


def test_salt_and_pepper_is_removed() -> None:
    chance = np.random.default_rng(1).random((28, 28))
    for digit in DIGITS[:10]:
        peppered = np.where(chance < 0.04, 0, np.where(chance < 0.08, 255, digit)).astype(np.uint8)
        assert alike(to_mnist(peppered), digit) > 0.8


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("columns", [slice(0, 140), slice(70, 210)])
def test_a_digit_across_light_and_dark_bands_is_one_digit(columns: slice, turned: bool) -> None:
    digit = drawn(TWO, paper=255, ink=0)
    banded = (digit.T if turned else digit).copy()
    banded[:, columns] = 255 - banded[:, columns]
    assert alike(to_mnist(banded.T if turned else banded), to_mnist(digit)) > 0.9


@pytest.mark.parametrize("enlargement", [1, 4, 10])
def test_a_digit_in_strong_noise_is_found(enlargement: int) -> None:
    for digit in DIGITS[:10]:
        size = (28 * enlargement,) * 2
        picture = np.asarray(Image.fromarray(noisy(digit, 90)).resize(size, Image.Resampling.BICUBIC))
        assert alike(to_mnist(picture), digit) > 0.5


def test_a_small_digit_in_a_large_picture_is_found() -> None:
    small = np.asarray(Image.fromarray(drawn(TWO)).resize((60, 60), Image.Resampling.BOX))
    scene = np.full((900, 1200), 217, np.uint8)
    scene[700:760, 100:160] = small
    assert alike(to_mnist(noisy(scene, 2)), CLEAN) > 0.9


@pytest.mark.parametrize(("left", "top"), [(60, 60), (260, 190), (330, 130), (500, 60), (420, 330)])
def test_a_small_digit_is_found_near_a_shadow_on_a_sheet_on_a_desk(left: int, top: int) -> None:
    picture = Image.new("L", (640, 480), 217)
    picture.paste(Image.fromarray(drawn(TWO)).resize((84, 84), Image.Resampling.BOX), (left, top))
    right, down = np.meshgrid(np.arange(640), np.arange(480))
    shadow = blurred(np.where(right + down < 480, 160, 255).astype(np.uint8), 6)
    desk = (right < 40 + down / 20) | (down > 460 - right / 40)
    lit = np.where(desk, 70, np.asarray(picture)) * (shadow / 255)
    assert alike(to_mnist(noisy(lit.astype(np.uint8), 4)), CLEAN) > 0.75


@pytest.mark.parametrize(
    "line", [[(14, 14), (24, 14)], [(214, 226), (240, 190)]], ids=["a mark far from it", "a fine end of its stroke"]
)
def test_a_thick_digit_near_a_shadow_is_not_taken_for_something_small(line: Line) -> None:
    canvas = Image.fromarray(drawn(TWO)).filter(ImageFilter.MinFilter(17))
    ImageDraw.Draw(canvas).line(line, fill=93, width=8)
    picture = np.asarray(canvas.resize((480, 480), Image.Resampling.BOX))
    right, down = np.meshgrid(np.arange(480), np.arange(480))
    shadow = blurred(np.where(right + down < 400, 150, 255).astype(np.uint8), 6)
    lit = (picture * (shadow / 255)).astype(np.uint8)
    assert alike(to_mnist(noisy(lit, 3)), to_mnist(picture)) > 0.95


def framed(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((60, 5, 245, 265), outline=93, width=5)


def touched_frame(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((60, 5, 217, 265), outline=93, width=5)


def cell(draw: ImageDraw.ImageDraw) -> None:
    for x in (40, 250):
        draw.line((x, 0, x, 280), fill=93, width=5)
    for y in (6, 262):
        draw.line((0, y, 280, y), fill=93, width=5)


def turned_cell(draw: ImageDraw.ImageDraw) -> None:
    draw.line((38, 0, 46, 280), fill=93, width=5)
    draw.line((0, 266, 280, 258), fill=93, width=5)


def checked(draw: ImageDraw.ImageDraw) -> None:
    for at in range(14, 280, 28):
        draw.line((at, 0, at, 280), fill=93, width=2)
        draw.line((0, at, 280, at), fill=93, width=2)


@pytest.mark.parametrize("lines", [framed, touched_frame, cell, turned_cell, checked])
def test_frames_cells_and_grids_are_left_out(lines: Callable[[ImageDraw.ImageDraw], None]) -> None:
    canvas = Image.fromarray(drawn(TWO))
    lines(ImageDraw.Draw(canvas))
    assert alike(to_mnist(np.asarray(canvas)), CLEAN) > 0.9


SEVEN: list[Line] = [[(60, 30), (200, 30), (120, 250)]]


def test_the_bar_of_a_seven_that_was_cut_out_is_not_a_frame() -> None:
    whole = drawn(SEVEN)
    assert alike(to_mnist(whole[22:259, 52:209]), to_mnist(whole)) > 0.98


def test_two_digits_side_by_side_are_refused() -> None:
    scene = np.full((480, 640), 230, np.uint8)
    both = [on_paper(digit, 100, left) for digit, left in ((DIGITS[0], 20), (DIGITS[1], 320))]
    scene = np.minimum(*both)
    with pytest.raises(SeveralDigitsError, match="2 separate marks of about the same size; send one digit"):
        to_mnist(scene)


STROKES_APART: dict[str, list[Line]] = {
    "a five with its bar apart": [[(110, 70), (100, 130), (160, 130), (180, 190), (100, 230)], [(130, 40), (200, 40)]],
    "a zero in two halves": [
        [(130, 40), (90, 90), (90, 190), (130, 240)],
        [(160, 40), (200, 90), (200, 190), (160, 240)],
    ],
    "a four whose stem is apart": [[(110, 60), (70, 150), (150, 150)], [(190, 50), (190, 240)]],
    "a dotted one": [[(140, y), (140, y + 1)] for y in range(40, 260, 30)],
    "a dashed one": [[(140, y), (140, y + 40)] for y in (30, 100, 170)],
}


@pytest.mark.parametrize("name", STROKES_APART)
def test_one_digit_of_several_strokes_is_not_refused(name: str) -> None:
    assert to_mnist(drawn(STROKES_APART[name])).any()


def test_mnists_digits_are_not_refused_off_centre() -> None:
    for digit in DIGITS[:300]:
        assert alike(to_mnist(np.roll(digit, 1, axis=0)), digit) > 0.6


BLANKS: dict[str, Pixels] = {
    "noise": noisy(np.full((240, 320), 200, np.uint8), 6),
    "noise, 28x28": noisy(np.full((28, 28), 200, np.uint8), 6),
    "strong noise, 28x28": noisy(np.zeros((28, 28), np.uint8), 90),
    "strong noise, enlarged": np.kron(noisy(np.zeros((28, 28), np.uint8), 90), np.ones((10, 10), np.uint8)),
    "vignette": np.rint(220 - 80 * np.hypot(*np.mgrid[-1:1:240j, -1:1:320j]) ** 2).astype(np.uint8),
    "gradient": np.tile(np.linspace(90, 220, 320).astype(np.uint8), (240, 1)),
    "rough paper": blurred(noisy(np.full((240, 320), 200, np.uint8), 40), 3),
    "a shadow": np.where(np.add.outer(np.arange(240), np.arange(320)) > 250, 120, 210).astype(np.uint8),
    "dust": np.pad(np.full((2, 3), 40, np.uint8), ((100, 138), (200, 117)), constant_values=220),
}


@pytest.mark.parametrize("name", BLANKS)
def test_blank_paper_is_refused(name: str) -> None:
    with pytest.raises(BlankPictureError):
        to_mnist(BLANKS[name])


# Properties.


@given(st.integers(0, 99), st.integers(60, 400), st.integers(0, 60), st.integers(0, 60))
@examples(0.8)
def test_the_size_and_the_position_change_the_digit_little(row: int, side: int, top: int, left: int) -> None:
    large = np.asarray(Image.fromarray(DIGITS[row]).resize((side, side), Image.Resampling.BICUBIC))
    scene = np.zeros((480, 480), np.uint8)
    scene[top : top + side, left : left + side] = large
    assert alike(to_mnist(scene), DIGITS[row]) > 0.6


@examples(1.2)
@given(st.integers(0, 99), st.integers(0, 255), st.integers(0, 255))
def test_polarity_and_contrast_change_little(row: int, paper: int, ink: int) -> None:
    moved = np.roll(DIGITS[row], 1, axis=1)
    shown = np.rint(paper + (ink - paper) * (moved / 255)).astype(np.uint8)
    if abs(paper - ink) >= 16:
        assert alike(to_mnist(shown), to_mnist(moved)) > 0.95
    if abs(paper - ink) <= 1:
        with pytest.raises(BlankPictureError):
            to_mnist(shown)
