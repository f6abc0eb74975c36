"""Every bad picture is refused with a picture error, never with another exception."""

import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from service.images.containers import MOST_CHUNKS, MOST_READS, BoundedFile
from service.images.decode import LONGEST_SIDE, decode, takes_long
from service.images.errors import NoDigitError, PictureError, PictureTooLargeError, UndecodablePictureError
from service.images.normalise import to_mnist
from tests.digits import encoded
from tests.examples import examples
from tests.pictures import (
    DIGITS,
    MAX_PIXELS,
    ORIENTATION,
    PNG,
    SEVEN,
    Pixels,
    chunk,
    enlarged,
    is_digit,
    on_paper,
    outcome,
    png_of,
)
from tests.waiting import HANG

# Pictures that are refused.


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_000, 10_000), (4_097, 4_096), (1, MAX_PIXELS + 1)])
def test_too_many_pixels_are_refused_by_the_header(size: tuple[int, int]) -> None:
    width, height = size  # the file has no pixels, so decoding would fail with "damaged"
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
def test_content_that_is_not_a_picture_is_refused(content: bytes) -> None:
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
    ],
    ids=["magic", "jpeg magic", "empty", "no data", "cut", "crc", "cut jpeg", "text bomb", "struct"],
)
def test_a_damaged_picture_is_refused_without_internals(content: bytes) -> None:
    with pytest.raises(UndecodablePictureError, match=r"^the (PNG|JPEG) is damaged and cannot be decoded$"):
        decode(content, MAX_PIXELS)


# Costs that do not depend on the pixels, and the state that threads share.


def invalid_animation() -> bytes:
    """A PNG that says that it is an animation, without frames."""
    rows = b"".join(b"\0" + row.tobytes() for row in SEVEN)
    return png_of(28, 28, chunk(b"acTL", bytes(8)), pixels=zlib.compress(rows))


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    """A scan has only a few bytes, but its time grows with the size of the picture."""
    content = encoded(SEVEN, "JPEG", progressive=True, quality=95)
    scan = content[content.rindex(b"\xff\xda") : -2]
    assert outcome(content) is not None
    assert outcome(content[:-2] + 20 * scan + content[-2:]) is not None
    with pytest.raises(PictureTooLargeError, match="scans; at most 100"):
        decode(content[:-2] + 120 * scan + content[-2:], MAX_PIXELS)


@pytest.mark.parametrize("size", [(1, LONGEST_SIDE + 1), (LONGEST_SIDE + 1, 2)])
def test_a_side_that_is_too_long_is_refused_by_the_header(size: tuple[int, int]) -> None:
    """A PNG of one column has a row for each pixel, and decoders take some time for each row."""
    with pytest.raises(PictureTooLargeError, match=r"pixels; the limit of a side is 16,384 pixels$"):
        decode(png_of(*size), MAX_PIXELS)


SEVEN_PNG, SEVEN_JPEG = encoded(SEVEN), encoded(enlarged(SEVEN).astype(np.uint8), "JPEG", quality=95)


def png_with(kind: bytes, count: int) -> bytes:
    """The seven as a PNG, with empty chunks before its pixels."""
    return SEVEN_PNG[:33] + count * chunk(kind, b"") + SEVEN_PNG[33:]


@pytest.mark.parametrize("kind", [b"tEXt", b"IDAT"])
def test_a_png_with_very_many_chunks_is_refused(kind: bytes) -> None:
    """A chunk has only twelve bytes, and a decoder takes some time for each."""
    assert outcome(png_with(kind, MOST_CHUNKS // 3)) is not None
    with pytest.raises(PictureTooLargeError, match="the PNG has more than 4,000 chunks; at most 4,000 are read"):
        decode(png_with(kind, MOST_CHUNKS), MAX_PIXELS)


@pytest.mark.parametrize(
    "metadata", [b"\xff\xe3\x00\x02", b"\xff\xfe\x00\x02", b"\xff"], ids=["app", "text", "padding"]
)
def test_a_jpeg_with_very_many_segments_is_refused(metadata: bytes) -> None:
    assert outcome(SEVEN_JPEG[:2] + 500 * metadata + SEVEN_JPEG[2:]) is not None
    with pytest.raises(PictureTooLargeError, match=r"so many segments .* at most 4,000 reads are made"):
        decode(SEVEN_JPEG[:2] + MOST_READS * metadata + SEVEN_JPEG[2:], MAX_PIXELS)


def test_a_picture_is_refused_once_its_time_is_up() -> None:
    assert BoundedFile(SEVEN_PNG, time.thread_time() + HANG).read() == SEVEN_PNG
    with pytest.raises(PictureTooLargeError, match="takes more than 2 s to decode"):
        BoundedFile(SEVEN_PNG, time.thread_time()).read()


def test_only_large_pictures_take_long() -> None:
    """A picture can pretend to be small only if it is refused."""
    large = Image.fromarray(np.zeros((1_200, 1_000), np.uint8))
    animated = encoded(SEVEN, "JPEG", progressive=True, quality=95)
    scan = animated[animated.rindex(b"\xff\xda") : -2]
    assert not any(takes_long(content) for content in (SEVEN_PNG, SEVEN_JPEG, animated, b"", PNG))
    assert all(takes_long(content) for content in (encoded(large), encoded(large, "JPEG"), SEVEN_PNG + bytes(2**17)))
    assert not takes_long(SEVEN_JPEG[:-2] + 10 * scan + SEVEN_JPEG[-2:])
    assert takes_long(SEVEN_JPEG[:-2] + 40 * scan + SEVEN_JPEG[-2:])


def test_threads_get_the_same_results_and_do_not_change_shared_state() -> None:
    contents = [invalid_animation(), *(encoded(digit) for digit in DIGITS[:20]), b"GIF89a", png_of(9_000, 9_000)] * 20
    before = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK
    expected = [outcome_of(content) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome_of, contents)) == expected
    assert before == (Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK)


def outcome_of(content: bytes) -> bytes | str:
    try:
        return decode(content, MAX_PIXELS).tobytes()
    except PictureError as error:
        return str(error)


# Properties.


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda body: PNG + body)))
@examples(4)
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


def test_the_pictures_of_these_tests_are_valid_before_they_are_damaged() -> None:
    assert all(outcome(content) is not None for content in VALID)


@given(st.sampled_from(VALID), st.floats(0, 1, exclude_max=True))
@examples(4)
def test_truncation_gives_a_digit_or_a_picture_error(content: bytes, part: float) -> None:
    outcome(content[: int(part * len(content))])


@given(st.sampled_from(VALID), st.data())
@examples(8)
def test_flipped_bits_give_a_digit_or_a_picture_error(content: bytes, data: st.DataObject) -> None:
    flipped = bytearray(content)
    for bit in data.draw(st.lists(st.integers(0, 8 * len(content) - 1), min_size=1, max_size=8)):
        flipped[bit // 8] ^= 1 << bit % 8
    outcome(bytes(flipped))


@given(st.sampled_from(VALID[:4]), st.integers(0), st.binary(max_size=40))
@examples(4)
def test_any_chunk_gives_a_digit_or_a_picture_error(content: bytes, name: int, body: bytes) -> None:
    names = [b"acTL", b"fcTL", b"tRNS", b"eXIf", b"iTXt", b"zTXt", b"iCCP", b"pHYs", b"gAMA", b"PLTE", b"IHDR", b"sRGB"]
    extra = chunk(names[name % len(names)], body)
    outcome(content[:33] + extra + content[33:])
    outcome(content[:-12] + extra + content[-12:])


SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=40)


def digit_of(picture: Pixels) -> Pixels | None:
    """The digit, or None if the picture shows no digit."""
    try:
        answer = to_mnist(picture)
    except NoDigitError:
        return None
    assert is_digit(answer)
    return answer


def same(one: Pixels, other: Pixels) -> bool:
    """Whether two pictures become the same digit, or are both refused."""
    first, second = digit_of(one), digit_of(other)
    return first is second if first is None or second is None else np.array_equal(first, second)


@st.composite
def thin_pictures(draw: st.DrawFn) -> Pixels:
    """Noise that is far longer than wide, or far wider than long."""
    short, long, seed = draw(st.integers(1, 4)), draw(st.integers(1, 1000)), draw(st.integers(0, 1000))
    noise = np.random.default_rng(seed).integers(0, 256, (short, long), np.uint8)
    return noise.T if draw(st.booleans()) else noise


@given(st.one_of(hnp.arrays(np.uint8, SHAPES), thin_pictures()))
@examples(8)
def test_any_array_becomes_a_digit_or_is_refused(grey: Pixels) -> None:
    answer = digit_of(grey)
    assert answer is None or answer.max() >= 250


@given(
    hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)),
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
)
@examples(4)
def test_shifting_a_drawing_on_its_canvas_changes_nothing(
    drawing: Pixels, one: tuple[int, int], other: tuple[int, int]
) -> None:
    """The drawing is at least two pixels from the border, because faint ink next to the border may be lost."""
    canvases = []
    for top, left in (one, other):
        canvas = np.zeros((60, 64), np.uint8)
        canvas[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
        canvases.append(canvas)
    assert same(*canvases)


@given(hnp.arrays(np.uint8, (20, 30)), st.integers(6, 20))
@examples(2)
def test_a_picture_and_its_negative_give_the_same_digit(drawing: Pixels, margin: int) -> None:
    """This holds if most of the picture is paper."""
    canvas = np.pad(drawing, margin)
    assert same(canvas, 255 - canvas)
