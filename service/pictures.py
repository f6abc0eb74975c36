"""From the bytes of a PNG or JPEG to the form that MNIST's pictures have."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from models.form import SIDE, Digit, to_form
from service.ink import WORKING, find_ink, grey_of, light_at_border

BLANK = 16  # a picture whose levels span less than this has no ink
GREYS = ("1", "L", "LA")

START_OF_SCAN = b"\xff\xda"
READERS = {b"\x89PNG\r\n\x1a\n": PngImageFile, b"\xff\xd8\xff": JpegImageFile}  # by the first bytes of the content
MOST_SCANS = 100  # of a progressive JPEG, each of which takes as long as the picture is large


class PictureError(Exception):
    """A picture that cannot be taken; the message is for whoever sent it."""


class UndecodablePictureError(PictureError):
    """The content is neither PNG nor JPEG, or is damaged."""


class PictureTooLargeError(PictureError):
    """The picture has more pixels than may be decoded."""


class BlankPictureError(PictureError):
    """There is no ink on the picture."""


def decode(content: bytes, max_pixels: int) -> Digit:
    """Decode a PNG or JPEG and bring it to MNIST's form; safe to call from many threads.

    Args:
        content: of the file.
        max_pixels: as many pixels are decoded at most; the header is believed, and nothing decoded, above it.

    Returns:
        uint8 ``[28, 28]``, white ink on black.

    Raises:
        UndecodablePictureError: if the content is neither PNG nor JPEG, or damaged.
        PictureTooLargeError: if there are more pixels than ``max_pixels``, or more scans than any camera makes.
        BlankPictureError: if nothing stands out from the paper.
    """
    reader = next((reader for magic, reader in READERS.items() if content.startswith(magic)), None)
    if reader is None:
        raise UndecodablePictureError("the content is neither a PNG nor a JPEG; only PNG and JPEG are decoded")
    if reader is JpegImageFile and (scans := content.count(START_OF_SCAN)) > MOST_SCANS:
        raise PictureTooLargeError(f"the JPEG has {scans:,} scans; at most {MOST_SCANS} are decoded")
    try:
        # The readers themselves, for Image.open has a pixel limit of its own and may go on to other formats.
        with reader(io.BytesIO(content)) as picture:
            _check_size(*picture.size, max_pixels)
            # A JPEG is decoded at an eighth, a quarter or half of its size where that leaves what is looked at.
            picture.draft(picture.mode, (2 * WORKING, 2 * WORKING))
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            levels = np.asarray(_opaque(picture))
    except PictureError:
        raise
    except Exception as error:  # damaged content makes Pillow raise nearly anything
        raise UndecodablePictureError(f"the {reader.format} is damaged and cannot be decoded") from error
    digit = to_mnist(levels)
    if not digit.any():
        raise BlankPictureError("the picture shows no ink: nothing on it stands out clearly from its paper")
    return digit


def to_mnist(picture: npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]) -> Digit:
    """Bring a picture to MNIST's form: size, place, polarity and contrast.

    A picture of 28x28 is taken to be in that form already, but for its colours and its polarity. One without ink
    becomes all zeros.

    Args:
        picture: grey ``[height, width]``, or in colours ``[height, width, 3]``, of any size, dark ink on light paper
            or light on dark; levels of 0..255, to which floating ones are clipped.

    Returns:
        uint8 ``[28, 28]``, white ink on black.
    """
    levels = _levels(picture)
    if levels.size == 0 or np.ptp(levels) < BLANK:
        return np.zeros((SIDE, SIDE), np.uint8)
    if levels.shape[:2] == (SIDE, SIDE):
        grey = grey_of(levels)
        return ~grey if light_at_border(grey) else grey
    ink = find_ink(levels)
    return np.zeros((SIDE, SIDE), np.uint8) if ink is None else to_form(ink)


def _levels(picture: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return picture if picture.dtype == np.uint8 else np.rint(np.nan_to_num(np.clip(picture, 0, 255))).astype(np.uint8)


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture with more pixels than may be decoded."""
    if width * height > max_pixels:
        size = f"{width:,} x {height:,} = {width * height:,} pixels"
        raise PictureTooLargeError(f"the picture has {size}; at most {max_pixels:,} are decoded")


def _opaque(picture: Image.Image) -> Image.Image:
    """The first frame of a loaded picture in 8 bits, grey or RGB, on a paper where it is transparent."""
    if picture.mode == "I;16":  # Pillow would clip 16 bits to 8; this rounds, and 257 * level becomes level
        return Image.fromarray(((np.asarray(picture, np.uint32) + 128) // 257).astype(np.uint8))
    colours = "L" if picture.mode in GREYS else "RGB"
    if picture.has_transparency_data:
        alpha = picture.convert("RGBA").getchannel("A")
        paper = _paper_behind(picture.convert("LA").getchannel("L"), alpha)
        drawing = picture.convert("RGBA").convert(colours)
        return Image.composite(drawing, Image.new("L", drawing.size, paper).convert(colours), alpha)
    return picture.convert(colours)


def _paper_behind(grey: Image.Image, alpha: Image.Image) -> int:
    """The level of a paper on which what is visible shows.

    Where most of the picture is visible and has a contrast of its own, that is a drawing with its paper, and the
    paper goes on. Else it is ink alone: light ink goes on black, dark ink on white.
    """
    opacity = np.asarray(alpha)
    visible = np.asarray(grey)[opacity >= opacity.max() / 2]
    if visible.size > opacity.size / 2 and np.ptp(visible) >= BLANK:
        return int(np.median(visible))
    return 255 if visible.mean() < 128 else 0
