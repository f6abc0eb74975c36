import gzip
import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service.pictures import PictureError, PictureTooLargeError, UndecodablePictureError, decode, to_mnist

MNIST = Path(__file__).parents[2] / "data" / "mnist"
MAX_PIXELS = 1 << 24
PNG = b"\x89PNG\r\n\x1a\n"
ORIENTATION = 0x0112
TURNED = {  # by the tag's value, what undoes the turn that the value asks for
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

Pixels = npt.NDArray[np.uint8]


def read_digits() -> Pixels:
    with gzip.open(MNIST / "t10k-images-idx3-ubyte.gz") as file:
        return np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28)


def read_labels() -> Pixels:
    with gzip.open(MNIST / "t10k-labels-idx1-ubyte.gz") as file:
        return np.frombuffer(file.read()[8:], np.uint8)


DIGITS = read_digits()
SEVEN = DIGITS[0]


def encoded(picture: Image.Image | npt.NDArray[Any], form: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_of(width: int, height: int, *chunks: bytes, pixels: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"".join([PNG, header, *chunks, chunk(b"IDAT", pixels), chunk(b"IEND", b"")])


def enlarged(digit: Pixels, times: int = 10) -> npt.NDArray[np.float64]:
    side = 28 * times
    return np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.LANCZOS), np.float64)


def on_paper(digit: Pixels, top: int, left: int, paper: int = 230, ink: int = 40) -> Pixels:
    big = enlarged(digit)
    scene = np.full((480, 640), float(paper))
    scene[top : top + big.shape[0], left : left + big.shape[1]] += big / 255 * (ink - paper)
    return scene.round().astype(np.uint8)


def correlation(one: Pixels, other: Pixels) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def is_digit(answer: Pixels) -> bool:
    return answer.shape == (28, 28) and answer.dtype == np.uint8


def outcome(content: bytes) -> Pixels | None:
    """The digit, or None where the content is refused as it should be."""
    try:
        answer = decode(content, MAX_PIXELS)
    except PictureError:
        return None
    assert is_digit(answer)
    return answer


# MNIST's own pictures


@pytest.mark.parametrize("digit", range(10))
def test_mnist_comes_back_bit_for_bit(digit: int) -> None:
    for picture in DIGITS[read_labels() == digit][:20]:
        assert np.array_equal(decode(encoded(picture), MAX_PIXELS), picture)
        assert np.array_equal(decode(encoded(255 - picture), MAX_PIXELS), picture)


def test_all_of_the_test_pictures_are_in_mnists_form_already() -> None:
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


def test_the_longer_side_is_20_and_the_centre_of_mass_at_the_centre() -> None:
    for digit in DIGITS[:100]:
        answer = to_mnist(on_paper(digit, 20, 300)).astype(float)
        rows, columns = np.flatnonzero(answer.any(axis=1)), np.flatnonzero(answer.any(axis=0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis in (0, 1):
            assert abs(np.average(np.arange(28), weights=answer.sum(axis=axis)) - 14) <= 0.5


def test_the_paper_becomes_0_and_the_ink_255() -> None:
    rng = np.random.default_rng(0)
    scene = on_paper(SEVEN, 50, 70, paper=200, ink=90)
    answer = to_mnist(scene + rng.normal(0, 3, scene.shape))
    assert answer.max() == 255
    assert (answer[:4] == 0).all()
    assert np.mean(answer == 0) > 0.5
    assert correlation(answer, to_mnist(scene)) > 0.99


def test_specks_do_not_move_the_digit() -> None:
    clean = on_paper(SEVEN, 100, 150)
    specked = clean.copy()
    specked[2, 3] = specked[470, 600] = specked[300, 20] = 0
    assert correlation(to_mnist(specked), to_mnist(clean)) > 0.99


def test_the_aspect_ratio_is_kept() -> None:
    canvas = np.zeros((300, 300), np.uint8)
    canvas[100:200, 40:80] = 255
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 10:18] = 255
    assert np.array_equal(to_mnist(canvas), expected)


# what pictures are made of


def test_ink_on_transparent_shows_whether_black_or_white() -> None:
    alpha = Image.fromarray(SEVEN)
    for level in (0, 255):
        picture = Image.merge("LA", (Image.new("L", (28, 28), level), alpha))
        for mode in ("LA", "RGBA"):
            assert np.array_equal(decode(encoded(picture.convert(mode)), MAX_PIXELS), SEVEN)


def test_ink_of_many_shades_on_transparent_is_not_taken_for_paper() -> None:
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
    assert not decode(encoded(picture), MAX_PIXELS).any()


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


# odd sizes


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (28, 28), (300, 200)])
@pytest.mark.parametrize("level", [0, 1, 128, 254, 255])
def test_a_blank_picture_is_all_zeros(shape: tuple[int, int], level: int) -> None:
    answer = decode(encoded(np.full(shape, level, np.uint8)), MAX_PIXELS)
    assert is_digit(answer)
    assert not answer.any()


def test_nearly_blank_is_blank() -> None:
    faint = np.random.default_rng(0).integers(200, 210, (100, 100)).astype(np.uint8)
    assert not to_mnist(faint).any()


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0)])
def test_a_picture_without_pixels_is_blank(shape: tuple[int, int]) -> None:
    answer = to_mnist(np.zeros(shape, np.uint8))
    assert is_digit(answer)
    assert not answer.any()


def test_one_pixel_of_ink_fills_the_box() -> None:
    canvas = np.full((90, 50), 255, np.uint8)
    canvas[70, 5] = 0
    expected = np.zeros((28, 28), np.uint8)
    expected[4:24, 4:24] = 255
    assert np.array_equal(to_mnist(canvas), expected)


@pytest.mark.parametrize("shape", [(1, 20_000), (20_000, 1), (3, 20_000)])
def test_a_huge_aspect_ratio_is_a_line(shape: tuple[int, int]) -> None:
    line = np.zeros(shape, np.uint8)
    longer = int(np.argmax(shape))
    ink = [slice(None), slice(None)]
    ink[longer] = slice(6_000, 12_000)
    line[tuple(ink)] = 255
    answer = decode(encoded(line), MAX_PIXELS)
    extent = [np.flatnonzero(answer.any(axis=axis)).size for axis in (1, 0)]
    assert extent[longer] == 20
    assert extent[1 - longer] == 1


def test_ink_that_lies_far_from_its_centre_of_mass_stays_inside() -> None:
    canvas = np.zeros((200, 200), np.uint8)
    canvas[50:150, 50:52] = 255
    canvas[140:150, 50:150] = 255
    answer = to_mnist(canvas)
    assert max(np.ptp(np.flatnonzero(answer.any(axis=axis))) for axis in (0, 1)) == 19


def test_floats_are_taken_on_the_same_scale() -> None:
    assert np.array_equal(to_mnist(SEVEN.astype(np.float64)), SEVEN)
    odd = np.where(SEVEN > 127, np.inf, np.where(SEVEN > 0, np.nan, -1e300))
    assert np.array_equal(to_mnist(odd), np.where(SEVEN > 127, 255, 0))


# what is refused


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (4_097, 4_096), (1, MAX_PIXELS + 1)])
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int]) -> None:
    width, height = size  # there are no pixels to decode, so decoding would say damaged
    with pytest.raises(PictureTooLargeError) as caught:
        decode(png_of(width, height), MAX_PIXELS)
    pixels = f"{width:,} x {height:,} = {width * height:,} pixels"
    assert str(caught.value) == f"the picture has {pixels}; at most 16,777,216 are decoded"


def test_too_many_pixels_are_refused_by_the_header_of_a_jpeg() -> None:
    content = bytearray(encoded(SEVEN, "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 65_500, 65_000)
    with pytest.raises(PictureTooLargeError, match="65,000 x 65,500 = 4,257,500,000"):
        decode(bytes(content), MAX_PIXELS)


def test_the_limit_itself_is_allowed() -> None:
    assert np.array_equal(decode(encoded(SEVEN), 784), SEVEN)
    with pytest.raises(PictureTooLargeError, match="784 pixels; at most 783"):
        decode(encoded(SEVEN), 783)


@pytest.mark.parametrize("form", ["GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_other_formats_are_refused(form: str) -> None:
    with pytest.raises(UndecodablePictureError, match="only PNG and JPEG"):
        decode(encoded(SEVEN, form), MAX_PIXELS)


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"not a picture", b"<svg/>", PNG[1:]])
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(UndecodablePictureError, match="only PNG and JPEG"):
        decode(content, MAX_PIXELS)


@pytest.mark.parametrize(
    "content",
    [
        PNG,
        b"\xff\xd8\xff",
        png_of(0, 0),
        png_of(28, 28),
        encoded(SEVEN)[:100],
        encoded(SEVEN).replace(b"IHDR\x00\x00\x00\x1c", b"IHDR\x00\x00\x00\x1d"),
        encoded(enlarged(SEVEN).astype(np.uint8), "JPEG")[:1500],
        png_of(1, 1, chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(1 << 21)))),
        png_of(1, 1, chunk(b"tRNS", b"\0"), pixels=zlib.compress(b"\0\0")),
        png_of(1, 1, chunk(b"eXIf", b"MM\0*\0\0"), pixels=zlib.compress(b"\0\0")),
    ],
    ids=["magic", "jpeg magic", "empty", "no data", "cut", "crc", "cut jpeg", "text bomb", "struct", "exif"],
)
def test_damage_is_told_without_internals(content: bytes) -> None:
    with pytest.raises(UndecodablePictureError, match=r"^the (PNG|JPEG) is damaged and cannot be decoded$"):
        decode(content, MAX_PIXELS)


# Pillow's warnings and the state that threads share


def warned_about() -> bytes:
    """A PNG of which Pillow warns that it is no valid animation."""
    rows = b"".join(b"\0" + row.tobytes() for row in SEVEN)
    return png_of(28, 28, chunk(b"acTL", bytes(8)), pixels=zlib.compress(rows))


def test_a_warning_of_pillow_does_not_escape() -> None:
    content = warned_about()
    with pytest.warns(UserWarning, match="Invalid APNG"), Image.open(io.BytesIO(content)) as picture:
        picture.load()
    assert np.array_equal(decode(content, MAX_PIXELS), SEVEN)


def test_threads_get_the_same_and_leave_the_shared_state_alone() -> None:
    contents = [warned_about(), *(encoded(digit) for digit in DIGITS[:20]), b"GIF89a", png_of(9_000, 9_000)] * 20
    before = list(warnings.filters), Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    expected = [outcome_of(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome_of, contents)) == expected
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK) == before


def outcome_of(content: bytes) -> bytes | str:
    try:
        return decode(content, MAX_PIXELS).tobytes()
    except PictureError as error:
        return str(error)


# properties


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda body: PNG + body)))
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes_are_undecodable(content: bytes) -> None:
    with pytest.raises(UndecodablePictureError):
        decode(content, MAX_PIXELS)


PALETTE = Image.fromarray(SEVEN).convert("P")
EXIF = Image.Exif()
EXIF[ORIENTATION] = 6
VALID = [
    encoded(SEVEN),
    encoded(on_paper(SEVEN, 0, 0)[::5, ::5]),
    encoded(PALETTE, transparency=bytes(range(256)), exif=EXIF),
    encoded(Image.fromarray(SEVEN), save_all=True, append_images=[Image.fromarray(DIGITS[1])]),
    encoded(SEVEN, "JPEG", exif=EXIF),
    encoded(SEVEN, "JPEG", progressive=True),
    encoded(Image.fromarray(SEVEN).convert("RGB").convert("CMYK"), "JPEG"),
]


def test_the_pictures_to_be_damaged_are_valid() -> None:
    assert all(outcome(content) is not None for content in VALID)


@given(st.sampled_from(VALID), st.floats(0, 1, exclude_max=True))
@settings(deadline=None, max_examples=200)
def test_truncation_gives_a_digit_or_a_picture_error(content: bytes, part: float) -> None:
    outcome(content[: int(part * len(content))])


@given(st.sampled_from(VALID), st.data())
@settings(deadline=None, max_examples=400)
def test_flipped_bits_give_a_digit_or_a_picture_error(content: bytes, data: st.DataObject) -> None:
    flipped = bytearray(content)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=8)):
        flipped[bit // 8] ^= 1 << bit % 8
    outcome(bytes(flipped))


@given(st.sampled_from(VALID[:4]), st.integers(0), st.binary(max_size=40))
@settings(deadline=None, max_examples=200)
def test_any_chunk_gives_a_digit_or_a_picture_error(content: bytes, name: int, body: bytes) -> None:
    names = [b"acTL", b"fcTL", b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"iCCP", b"pHYs", b"gAMA", b"PLTE", b"IHDR", b"sRGB"]
    extra = chunk(names[name % len(names)], body)
    outcome(content[:33] + extra + content[33:])
    outcome(content[:-12] + extra + content[-12:])


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)


@given(st.one_of(hnp.arrays(np.uint8, SHAPES), hnp.arrays(np.float32, SHAPES), hnp.arrays(np.float64, SHAPES)))
@settings(deadline=None, max_examples=300)
def test_any_array_becomes_a_digit(grey: npt.NDArray[Any]) -> None:
    answer = to_mnist(grey)
    assert is_digit(answer)
    assert not answer.any() or answer.max() == 255 or grey.shape == (28, 28)


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
)
@settings(deadline=None, max_examples=200)
def test_shifting_a_drawing_on_its_canvas_changes_nothing(
    drawing: Pixels, one: tuple[int, int], other: tuple[int, int]
) -> None:
    answers = []
    for top, left in (one, other):
        canvas = np.zeros((60, 64), np.uint8)
        canvas[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
        answers.append(to_mnist(canvas))
    assert np.array_equal(answers[0], answers[1])


@given(hnp.arrays(np.uint8, (20, 30)), st.booleans())
@settings(deadline=None, max_examples=100)
def test_black_on_white_and_white_on_black_are_the_same(drawing: Pixels, framed: bool) -> None:
    canvas = np.pad(drawing, 4 if framed else 1)
    assert np.array_equal(to_mnist(canvas), to_mnist(255 - canvas))
