"""Pictures of every kind and size become digits in MNIST's form."""

import io

import numpy as np
import pytest
from PIL import Image

from service.images.decode import decode
from service.images.errors import BlankPictureError
from service.images.normalise import to_mnist
from tests.digits import encoded
from tests.pictures import (
    DIGITS,
    LABELS,
    MAX_PIXELS,
    ORIENTATION,
    SEVEN,
    TURNED,
    correlation,
    on_paper,
)

# MNIST's own pictures.


@pytest.mark.parametrize("digit", range(10))
def test_mnists_pictures_are_unchanged(digit: int) -> None:
    for picture in DIGITS[digit == LABELS][:20]:
        assert np.array_equal(decode(encoded(picture), MAX_PIXELS), picture)
        assert np.array_equal(decode(encoded(255 - picture), MAX_PIXELS), picture)


def test_all_pictures_of_the_test_set_are_in_mnists_form() -> None:
    assert all(np.array_equal(to_mnist(picture), picture) for picture in DIGITS)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_enlarged_digits_off_centre_come_back_close_to_the_original(form: str, inverted: bool) -> None:
    rng = np.random.default_rng(0)
    correlations = []
    for digit in DIGITS[:100]:
        scene = on_paper(digit, *rng.integers(0, [201, 361]).tolist())
        content = encoded(255 - scene if inverted else scene, form)
        correlations.append(correlation(decode(content, MAX_PIXELS), digit))
    assert np.mean(correlations) > 0.94
    assert min(correlations) > 0.7


def test_the_longer_side_is_20_and_the_centre_of_mass_is_in_the_middle() -> None:
    for digit in DIGITS[:100]:
        answer = to_mnist(on_paper(digit, 20, 300)).astype(float)
        rows, columns = np.flatnonzero(answer.any(axis=1)), np.flatnonzero(answer.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis in (0, 1):
            assert abs(np.average(np.arange(28), weights=answer.sum(axis=axis)) - 14) <= 0.5


def test_the_paper_becomes_0_and_the_ink_255() -> None:
    rng = np.random.default_rng(0)
    scene = on_paper(SEVEN, 50, 70, paper=200, ink=90)
    answer = to_mnist(np.rint(scene + rng.normal(0, 3, scene.shape)).astype(np.uint8))
    assert answer.max() == 255
    assert (answer[:4] == 0).all()
    assert np.mean(answer == 0) > 0.5
    assert correlation(answer, to_mnist(scene)) > 0.99


def test_specks_do_not_move_the_digit() -> None:
    clean = on_paper(SEVEN, 100, 150)
    specked = clean.copy()
    specked[2, 3] = specked[470, 600] = specked[300, 20] = 0
    assert correlation(to_mnist(specked), to_mnist(clean)) > 0.99


@pytest.mark.parametrize("across", [False, True])
def test_the_margin_line_of_a_notebook_is_left_out(across: bool) -> None:
    correlations = []
    for digit in DIGITS[:20]:
        clean = on_paper(digit, 100, 200)
        lined = clean.copy()
        (lined if across else lined.T)[60:64] = 40
        correlations.append(correlation(to_mnist(lined), to_mnist(clean)))
    assert np.mean(correlations) > 0.97
    assert min(correlations) > 0.8  # the lowest value is for a digit that is shifted by a pixel


def test_a_digit_that_is_cut_out_along_its_box_keeps_all_its_strokes() -> None:
    """The digit is a five. Its upper stroke is separate, and its other stroke goes from the top to the bottom."""
    canvas = np.zeros((100, 70), np.uint8)
    canvas[:, 10:22] = canvas[45:57, 10:60] = canvas[57:, 50:60] = canvas[88:, :60] = 255
    apart = canvas.copy()
    apart[:12, 30:] = 255
    assert np.array_equal(to_mnist(255 - apart), to_mnist(np.pad(255 - apart, 20, constant_values=255)))
    assert not np.array_equal(to_mnist(apart), to_mnist(canvas))


def test_the_aspect_ratio_is_kept() -> None:
    canvas = np.zeros((300, 300), np.uint8)
    canvas[100:200, 40:80] = 255
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 10:18] = 255
    assert np.array_equal(to_mnist(canvas), expected)


# Modes and features of pictures.


def test_black_and_white_ink_on_a_transparent_background_are_visible() -> None:
    alpha = Image.fromarray(SEVEN)
    for level in (0, 255):
        picture = Image.merge("LA", (Image.new("L", (28, 28), level), alpha))
        for mode in ("LA", "RGBA"):
            assert np.array_equal(decode(encoded(picture.convert(mode)), MAX_PIXELS), SEVEN)


def test_ink_of_many_shades_on_a_transparent_background_is_not_paper() -> None:
    shades = np.tile(np.linspace(0, 80, 28), (28, 1)).round().astype(np.uint8)
    for ink in (shades, 255 - shades):
        picture = Image.merge("LA", (Image.fromarray(ink), Image.fromarray(SEVEN)))
        assert correlation(decode(encoded(picture), MAX_PIXELS), SEVEN) > 0.95


def test_a_paper_with_transparent_corners_stays_paper() -> None:
    grey = on_paper(SEVEN, 100, 150)
    alpha = np.full_like(grey, 255)
    alpha[:150, :150] = alpha[-60:, -60:] = 0
    picture = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    assert np.array_equal(decode(encoded(picture), MAX_PIXELS), to_mnist(grey))


def test_a_transparent_palette_entry_is_transparent() -> None:
    picture = Image.fromarray((SEVEN > 127).astype(np.uint8), "P")
    picture.putpalette([9, 9, 9, 0, 0, 0])
    expected = np.where(SEVEN > 127, 255, 0)
    assert np.array_equal(decode(encoded(picture, transparency=0), MAX_PIXELS), expected)


def test_a_wholly_transparent_picture_is_blank() -> None:
    picture = Image.merge("LA", (Image.fromarray(SEVEN), Image.new("L", (28, 28), 0)))
    with pytest.raises(BlankPictureError):
        decode(encoded(picture), MAX_PIXELS)


@pytest.mark.parametrize("orientation", TURNED)
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(SEVEN).transpose(TURNED[orientation])
    assert np.array_equal(decode(encoded(stored, exif=exif), MAX_PIXELS), SEVEN)
    answer = decode(encoded(stored, "JPEG", quality=95, exif=exif), MAX_PIXELS)
    assert correlation(answer, SEVEN) > 0.99


@pytest.mark.parametrize("between", [-128, 0, 128])
def test_16_bit_greys_are_scaled_to_the_nearest_level(between: int) -> None:
    wide = np.clip(SEVEN.astype(np.int32) * 257 + between, 0, 65_535).astype(np.uint16)
    assert np.array_equal(decode(encoded(wide), MAX_PIXELS), SEVEN)


def test_16_bit_greys_are_scaled_at_any_size() -> None:
    dim = on_paper(SEVEN, 10, 20).astype(np.uint16) * 257
    assert np.array_equal(decode(encoded(dim), MAX_PIXELS), to_mnist(on_paper(SEVEN, 10, 20)))


def test_palette_and_colour_are_turned_to_grey() -> None:
    picture = Image.fromarray(SEVEN)
    for mode in ("P", "RGB"):
        assert np.array_equal(decode(encoded(picture.convert(mode)), MAX_PIXELS), SEVEN)


@pytest.mark.parametrize("paper", [(250, 225, 60), (250, 160, 60), (200, 40, 50)])
def test_a_blue_pen_on_coloured_paper_gives_the_same_digit_as_black_on_white(paper: tuple[int, int, int]) -> None:
    """The pen is lighter than the paper in one of the channels."""
    for digit in DIGITS[:10]:
        scene = on_paper(digit, 100, 150, paper=255, ink=0)
        cover = 1 - scene[..., np.newaxis] / 255
        coloured = np.rint(paper * (1 - cover) + (30, 60, 200) * cover).astype(np.uint8)
        assert correlation(to_mnist(coloured), to_mnist(scene)) > 0.97


def test_1_bit_is_black_and_white() -> None:
    bilevel = np.where(SEVEN > 127, np.uint8(255), np.uint8(0))
    assert np.array_equal(decode(encoded(Image.fromarray(bilevel).convert("1")), MAX_PIXELS), bilevel)


def test_a_cmyk_jpeg_is_turned_to_grey() -> None:
    picture = Image.fromarray(255 - SEVEN).convert("RGB").convert("CMYK")
    content = encoded(picture, "JPEG", quality=95)
    with Image.open(io.BytesIO(content)) as reopened:
        assert reopened.mode == "CMYK"
    assert correlation(decode(content, MAX_PIXELS), SEVEN) > 0.99


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.fromarray(digit) for digit in DIGITS[:3]]
    content = encoded(frames[0], save_all=True, append_images=frames[1:])
    assert b"acTL" in content
    assert np.array_equal(decode(content, MAX_PIXELS), SEVEN)


def test_the_first_picture_of_a_multi_picture_jpeg_is_taken() -> None:
    frames = [Image.fromarray(digit) for digit in DIGITS[:2]]
    content = encoded(frames[0], "MPO", save_all=True, append_images=frames[1:], quality=95)
    assert correlation(decode(content, MAX_PIXELS), SEVEN) > 0.99


# Blank pictures and unusual sizes.


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (28, 28), (300, 200)])
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_a_blank_picture_is_refused_with_its_levels(shape: tuple[int, int], level: int) -> None:
    blank = np.full(shape, level, np.uint8)
    with pytest.raises(BlankPictureError, match="shows no ink"):
        decode(encoded(blank), MAX_PIXELS)
    with pytest.raises(BlankPictureError, match=f"its levels go from {level} to {level}"):
        to_mnist(blank)


def test_a_nearly_blank_picture_is_blank() -> None:
    faint = np.random.default_rng(0).integers(200, 210, (100, 100)).astype(np.uint8)
    with pytest.raises(BlankPictureError):
        to_mnist(faint)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_blank(shape: tuple[int, int]) -> None:
    with pytest.raises(BlankPictureError):
        to_mnist(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("level", [0, 90])
def test_a_speck_of_dust_on_blank_paper_is_not_ink(level: int) -> None:
    dusty = np.full((480, 640), 230, np.uint8)
    dusty[300:306, 200:206] = level
    for picture in (dusty, 255 - dusty):
        with pytest.raises(BlankPictureError):
            to_mnist(picture)


def test_one_pixel_of_ink_in_a_small_picture_fills_the_box() -> None:
    canvas = np.full((35, 25), 255, np.uint8)
    canvas[25, 5] = 0
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 4:24] = 255
    assert np.array_equal(to_mnist(canvas), expected)


@pytest.mark.parametrize("shape", [(1, 16_000), (16_000, 1), (3, 16_000)])
def test_a_line_with_a_huge_aspect_ratio_becomes_a_line(shape: tuple[int, int]) -> None:
    line = np.zeros(shape, np.uint8)
    longer = int(np.argmax(shape))
    ink = [slice(None), slice(None)]
    ink[longer] = slice(6_000, 12_000)
    line[tuple(ink)] = 255
    answer = decode(encoded(line), MAX_PIXELS)
    extent = [np.flatnonzero(answer.any(axis=axis)).size for axis in (1, 0)]
    assert extent[longer] == 20
    assert extent[1 - longer] == 1


def test_ink_far_from_its_centre_of_mass_stays_inside_the_image() -> None:
    canvas = np.zeros((200, 200), np.uint8)
    canvas[50:150, 50:52] = 255
    canvas[140:150, 50:150] = 255
    answer = to_mnist(canvas)
    assert max(np.ptp(np.flatnonzero(answer.any(axis=axis))) for axis in (0, 1)) == 19
