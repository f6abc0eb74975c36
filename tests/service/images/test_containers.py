"""Only the pixels of a file decide about its digit: its metadata, and bytes after its end, change nothing."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.images.containers import completions, scans, without_metadata
from service.images.decode import decode
from service.images.errors import PictureTooLargeError, UndecodablePictureError
from tests.digits import encoded
from tests.examples import examples
from tests.pictures import DIGITS, MAX_PIXELS, ORIENTATION, PNG, SEVEN, TURNED, chunk, on_paper

AFTER_HEADER = 33
SEVEN_PNG = encoded(SEVEN)
SCENE = on_paper(SEVEN, 100, 150)
JPEG = encoded(SCENE, "JPEG", quality=92)
PROGRESSIVE = encoded(SCENE, "JPEG", quality=92, progressive=True)
END = b"\xff\xd9"
BOMB = zlib.compress(bytes(1 << 21))

ancillary = st.tuples(st.sampled_from("abcdeghijklz"), st.text("abcXYZ", min_size=3, max_size=3)).map("".join)
metadata = st.sampled_from(["iCCP", "zTXt", "iTXt", "tEXt", "eXIf", "acTL", "fcTL", "pHYs", "gAMA", "tIME"]) | ancillary


def with_chunk(kind: bytes, content: bytes, checksum: bytes | None = None) -> bytes:
    """The seven with another chunk after its header."""
    added = chunk(kind, content)
    added = added if checksum is None else added[:-4] + checksum
    return SEVEN_PNG[:AFTER_HEADER] + added + SEVEN_PNG[AFTER_HEADER:]


@settings(deadline=None)
@given(kind=metadata, content=st.binary(max_size=60), checksum=st.none() | st.binary(min_size=4, max_size=4))
def test_no_metadata_changes_the_digit_of_a_png(kind: str, content: bytes, checksum: bytes | None) -> None:
    assert np.array_equal(decode(with_chunk(kind.encode(), content, checksum), MAX_PIXELS), SEVEN)


@pytest.mark.parametrize(
    ("kind", "head"), [(b"iCCP", b"profile\0\0"), (b"zTXt", b"Comment\0\0"), (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0")]
)
def test_metadata_that_inflates_to_megabytes_is_not_inflated(kind: bytes, head: bytes) -> None:
    assert np.array_equal(decode(with_chunk(kind, head + BOMB), MAX_PIXELS), SEVEN)


@settings(deadline=None)
@given(content=st.binary(max_size=200))
def test_removal_leaves_whatever_cannot_be_parsed_and_removes_nothing_twice(content: bytes) -> None:
    once = without_metadata(PNG + content)
    assert once.startswith(PNG)
    assert without_metadata(once) == once


def test_a_png_without_metadata_is_not_copied() -> None:
    assert without_metadata(SEVEN_PNG) is SEVEN_PNG


@pytest.mark.parametrize("orientation", TURNED)
def test_the_orientation_in_exif_and_in_xmp_is_applied(orientation: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    Image.fromarray(SEVEN).transpose(TURNED[orientation]).save(file, "PNG")
    turned = file.getvalue()
    xmp = f'<rdf:Description tiff:Orientation="{orientation}"/>'.encode()
    for added in (chunk(b"eXIf", exif.tobytes()), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)):
        content = turned[:AFTER_HEADER] + chunk(b"iCCP", b"p\0\0" + BOMB) + added + turned[AFTER_HEADER:]
        assert np.array_equal(decode(content, MAX_PIXELS), SEVEN)


@pytest.mark.parametrize(
    "content",
    [
        SEVEN_PNG.replace(b"\n", b"").replace(b"\r", b""),
        SEVEN_PNG.replace(b"\r\n", b"\n"),
        SEVEN_PNG.decode(errors="replace").encode(),
    ],
)
def test_a_png_that_was_sent_as_text_is_refused_with_the_remedy(content: bytes) -> None:
    with pytest.raises(UndecodablePictureError, match="lost its line ends; send it as bytes"):
        decode(content, MAX_PIXELS)


# The end of a JPEG.


@pytest.mark.parametrize("content", [JPEG, PROGRESSIVE], ids=["baseline", "progressive"])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_marker_is_decoded(content: bytes, missing: int) -> None:
    assert content.endswith(END)
    assert np.array_equal(decode(content[:-missing], MAX_PIXELS), decode(content, MAX_PIXELS))


@pytest.mark.parametrize("digit", range(5))
def test_a_jpeg_that_lacks_pixels_is_refused(digit: int) -> None:
    content = encoded(on_paper(DIGITS[digit], 0, 0), "JPEG", quality=92)
    for cut in np.linspace(0.02, 0.98, 25):
        with pytest.raises(UndecodablePictureError, match="the JPEG is damaged"):
            decode(content[: max(3, int(cut * len(content)))], MAX_PIXELS)


@pytest.mark.parametrize("interval", range(1, 10))
@pytest.mark.parametrize("progressive", [False, True], ids=["baseline", "progressive"])
def test_a_jpeg_that_ends_at_a_restart_lacks_pixels(interval: int, *, progressive: bool) -> None:
    """A decoder goes on at the next restart, so bytes that follow the data do not by themselves become pixels."""
    content = encoded(SCENE, "JPEG", quality=92, progressive=progressive, restart_marker_blocks=interval)
    assert np.array_equal(decode(content[:-2], MAX_PIXELS), decode(content, MAX_PIXELS))
    restarts = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", content)]
    # The last scan of a progressive JPEG holds only the lowest bits, without which the picture looks the same.
    for cut in restarts[:10] if progressive else [*restarts[:5], *restarts[-5:]]:
        for kept in range(3):
            with pytest.raises(UndecodablePictureError, match="the JPEG is damaged"):
                decode(content[: cut + kept], MAX_PIXELS)


def test_a_progressive_jpeg_without_the_scans_of_the_lowest_bits_is_refused() -> None:
    first, second = (found.start() for found in list(re.finditer(b"\xff\xda", PROGRESSIVE))[:2])
    for end in (PROGRESSIVE.index(b"\xff\xc4", first), second):
        with pytest.raises(UndecodablePictureError, match="the JPEG is damaged"):
            decode(PROGRESSIVE[:end], MAX_PIXELS)


@given(content=st.binary(max_size=100), scan=st.binary(max_size=20))
def test_any_bytes_are_completed_or_lack_scans(content: bytes, scan: bytes) -> None:
    for files in (completions(content), completions(content + b"\xff\xda" + scan)):
        assert files is None or all(file.endswith(END) for file in files)


@examples(0.6)
@given(rest=st.binary(max_size=300))
def test_bytes_after_the_end_change_nothing(rest: bytes) -> None:
    assert np.array_equal(decode(JPEG + rest, MAX_PIXELS), decode(JPEG, MAX_PIXELS))


def test_a_video_behind_a_photograph_has_no_scans_of_the_photograph() -> None:
    """Phones append a video to a photograph, and its bytes may look like the start of a scan."""
    video = b"ftypmp42" + 200 * b"\xff\xda"
    assert np.array_equal(decode(JPEG + video, MAX_PIXELS), decode(JPEG, MAX_PIXELS))


@given(number=st.integers(0, 40), most=st.integers(0, 40), rest=st.binary(max_size=50))
def test_scans_are_counted_up_to_the_limit_and_the_end(number: int, most: int, rest: bytes) -> None:
    comment = b"\xff\xfe" + struct.pack(">H", 8) + b"\xff\xda\xff\xd9\xff\xda"
    scan = b"\xff\xda\x00\x02data\xff\x00\xff\xd0data"
    content = b"\xff\xd8" + comment + number * scan + END + 50 * b"\xff\xda" + rest
    assert scans(content, most) == min(number, most + 1)


@pytest.mark.parametrize("reserved", [b"\xff\x02", b"\xff\xbf"])
def test_scans_cannot_hide_behind_a_reserved_marker_in_a_scan(reserved: bytes) -> None:
    """A decoder that looks for a restart passes over the marker alone, and not over a length."""
    content = encoded(SCENE, "JPEG", progressive=True, restart_marker_blocks=1)
    scan = content[content.rfind(b"\xff\xda") : -2]
    hidden = 120 * scan[:14]
    with pytest.raises(PictureTooLargeError, match="more than 100 scans"):
        decode(content[:-2] + reserved + struct.pack(">H", len(hidden) + 2) + hidden + END, MAX_PIXELS)


@given(content=st.binary(max_size=300), most=st.integers(0, 3))
def test_scans_are_counted_in_any_bytes(content: bytes, most: int) -> None:
    assert 0 <= scans(b"\xff\xd8\xff" + content, most) <= most + 1
