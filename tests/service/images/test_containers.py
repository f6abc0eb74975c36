"""Only the pixels of a file decide about its digit: its metadata, and bytes after its end, change nothing."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from service.images.containers import scans, without_metadata
from service.images.decode import decode
from service.images.errors import UndecodablePictureError
from tests.digits import encoded
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


@settings(deadline=None, max_examples=30)
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


@given(content=st.binary(max_size=300), most=st.integers(0, 3))
def test_scans_are_counted_in_any_bytes(content: bytes, most: int) -> None:
    assert 0 <= scans(b"\xff\xd8\xff" + content, most) <= most + 1
