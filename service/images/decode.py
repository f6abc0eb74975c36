"""Decodes a PNG or JPEG and converts it to a digit in MNIST's form."""

import re
import time
from contextlib import suppress
from struct import Struct

import numpy as np
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from models.form import Digit
from service.images.containers import JPEG, MOST_SECONDS, PNG, BoundedFile, completions, scans, without_metadata
from service.images.errors import PictureError, PictureTooLargeError, UndecodablePictureError
from service.images.ink import WORKING
from service.images.normalise import Picture, to_mnist

OPAQUE = 16  # a drawing whose visible levels span less than this has no paper of its own
GREYS = ("1", "L", "LA")

READERS: dict[bytes, type[PngImageFile | JpegImageFile]] = {
    PNG: PngImageFile,
    JPEG: JpegImageFile,
}  # by the first bytes of the content
MOST_SCANS = 100  # of a progressive JPEG; each scan takes as long as the picture is large
LONGEST_SIDE = 16_384
"""The greatest number of pixels of the longer side. Each row takes time too: 16 million rows of one pixel take 20
times as long as a square picture with as many pixels. The sides of panoramas and of scanned pages are shorter."""

LONG_BYTES, LONG_PIXELS = 2**17, 2**20
"""A picture of at most so many bytes and pixels is decoded within about 20 ms; each scan of a JPEG counts."""

PNG_SIZE, JPEG_SIZE = Struct(">16xII"), re.compile(rb"\xff[\xc0-\xc3](?=...(....))", re.DOTALL)
"""Where a PNG has its width and height, and a JPEG its height and width in 16 bits each."""

CHANGED_PNG = (b"\x89PNG\x1a", b"\x89PNG\n", b"\xef\xbf\xbdPNG")  # the start of a PNG that was sent as text


def takes_long(content: bytes) -> bool:
    """Whether a PNG or JPEG may take long to decode, judged by its length and its header."""
    if len(content) > LONG_BYTES:
        return True
    if content.startswith(PNG):
        width, height = PNG_SIZE.unpack_from(content.ljust(PNG_SIZE.size, b"\0"))
        return bool(width * height > LONG_PIXELS)
    sizes = (int.from_bytes(size[:2]) * int.from_bytes(size[2:]) for size in JPEG_SIZE.findall(content))
    return max(sizes, default=0) * scans(content, MOST_SCANS) > LONG_PIXELS


def decode(content: bytes, max_pixels: int) -> Digit:
    """Decode a PNG or JPEG and convert it to MNIST's form. It is safe to call this from many threads.

    Args:
        content: the bytes of the file.
        max_pixels: the limit of the pixels. The size in the header is checked before anything is decoded.

    Returns:
        uint8 ``[28, 28]``, white ink on black.

    Raises:
        UndecodablePictureError: the content is neither a PNG nor a JPEG, or it is damaged.
        PictureTooLargeError: there are more pixels than ``max_pixels``, a side is longer than `LONGEST_SIDE`, there are
            more scans, chunks or segments than any camera makes, or decoding takes more than `MOST_SECONDS`.
        BlankPictureError: no ink stands out from the paper.
        SeveralDigitsError: there are several separate marks of about the same size.
    """
    reader = next((reader for magic, reader in READERS.items() if content.startswith(magic)), None)
    if reader is None:
        if content.startswith(CHANGED_PNG):
            raise UndecodablePictureError("the PNG lost its line ends; send it as bytes (curl: --data-binary, not -d)")
        raise UndecodablePictureError("the content is neither a PNG nor a JPEG; only PNG and JPEG are decoded")
    if reader is JpegImageFile and scans(content, MOST_SCANS) > MOST_SCANS:
        raise PictureTooLargeError(f"the JPEG has more than {MOST_SCANS} scans; at most {MOST_SCANS} are decoded")
    until = time.thread_time() + MOST_SECONDS
    try:
        levels = _levels(reader, without_metadata(content) if reader is PngImageFile else content, max_pixels, until)
    except PictureError:
        raise
    except Exception as error:  # damaged content makes Pillow raise nearly anything
        # Pillow raises OSError if the data end too soon. We do not decode three times what fails for another reason.
        ends_early = reader is JpegImageFile and isinstance(error, OSError)
        whole = _despite_missing_end(content, max_pixels, until) if ends_early else None
        if whole is None:
            raise UndecodablePictureError(f"the {reader.format} is damaged and cannot be decoded") from error
        levels = whole
    return to_mnist(levels)


def _levels(reader: type[PngImageFile | JpegImageFile], content: bytes, max_pixels: int, until: float) -> Picture:
    """The levels of a picture, upright and opaque."""
    # We call the readers themselves: Image.open has a pixel limit of its own and tries other formats.
    with reader(BoundedFile(content, until)) as picture:
        _check_size(*picture.size, max_pixels)
        # A JPEG is decoded at an eighth, a quarter or half of its size, if the result has enough pixels for us.
        picture.draft(picture.mode, (2 * WORKING, 2 * WORKING))
        picture.load()
        with suppress(Exception):  # odd metadata makes Pillow raise nearly anything; we then ignore the orientation
            ImageOps.exif_transpose(picture, in_place=True)
        return np.asarray(_opaque(picture))


def _despite_missing_end(jpeg: bytes, max_pixels: int, until: float) -> Picture | None:
    """The levels of a JPEG of which only the end marker is missing; None if it is damaged or pixels are missing."""
    files = completions(jpeg)
    if files is None:
        return None
    try:
        one, other = (_levels(JpegImageFile, file, max_pixels, until) for file in files)
    except Exception:  # noqa: BLE001 (damaged content makes Pillow raise nearly anything)
        return None
    return one if np.array_equal(one, other) else None


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture with more pixels than may be decoded, or with a longer side."""
    if width * height > max_pixels:
        size = f"{width:,} x {height:,} = {width * height:,} pixels"
        raise PictureTooLargeError(f"the picture has {size}; at most {max_pixels:,} are decoded")
    if max(width, height) > LONGEST_SIDE:
        size = f"{width:,} x {height:,} pixels"
        raise PictureTooLargeError(f"the picture has {size}; the limit of a side is {LONGEST_SIDE:,} pixels")


def _opaque(picture: Image.Image) -> Image.Image:
    """The first frame of a loaded picture in 8 bits, grey or RGB. Transparent parts are replaced by paper."""
    if picture.mode == "I;16":  # Pillow would clip 16 bits to 8. This rounds, so that 257 * level becomes level.
        return Image.fromarray(((np.asarray(picture, np.uint32) + 128) // 257).astype(np.uint8))
    colours = "L" if picture.mode in GREYS else "RGB"
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        paper = _paper_behind(picture.convert("LA").getchannel("L"), alpha)
        drawing = picture.convert("RGBA").convert(colours)
        return Image.composite(drawing, Image.new("L", drawing.size, paper).convert(colours), alpha)
    return picture.convert(colours)


def _paper_behind(grey: Image.Image, alpha: Image.Image) -> int:
    """The level of a paper on which the visible part of a picture can be seen.

    If most of the picture is visible and has a contrast of its own, it is a drawing with its paper, and the level is
    the paper's. Otherwise the visible part is ink alone: light ink is put on black and dark ink on white.
    """
    opacity = np.asarray(alpha)
    visible = np.asarray(grey)[opacity >= opacity.max() / 2]
    if visible.size > opacity.size / 2 and np.ptp(visible) >= OPAQUE:
        return int(np.median(visible))
    return 255 if visible.mean() < 128 else 0
