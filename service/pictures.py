"""From the bytes of a PNG or JPEG to the form that MNIST's pictures have.

MNIST's own pictures were size-normalised to fit a box of 20x20 pixels with their aspect ratio kept, which brought in
the grey levels, and then placed in 28x28 with their centre of mass at the centre (LeCun, Bottou, Bengio and Haffner
1998, *Gradient-Based Learning Applied to Document Recognition*, section III). The ink is white, 255, the
paper black, 0.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

Levels = npt.NDArray[np.float32]  # [height, width], 0..255 unless said otherwise
Digit = npt.NDArray[np.uint8]  # [28, 28]

SIDE = 28  # of a picture of MNIST
BOX = 20  # the side of the box that the ink is fitted to
CENTRE = 14  # where the centre of mass goes: over MNIST's test pictures it lies at 14.0 of 0..27, both ways
BLANK = 16  # a picture whose levels span less than this has no ink
GRAIN = 0.1  # the part of the ink's contrast that is taken for grain of the paper
STRAY = 0.002  # the part of the ink that may lie beyond each side of its box, as specks and noise do

START_OF_SCAN = b"\xff\xda"
READERS = {b"\x89PNG\r\n\x1a\n": PngImageFile, b"\xff\xd8\xff": JpegImageFile}  # by the first bytes of the content
MOST_SCANS = 100  # of a progressive JPEG, each of which takes as long as the picture is large


class PictureError(Exception):
    """A picture that cannot be taken; the message is for whoever sent it."""


class UndecodablePictureError(PictureError):
    """The content is neither PNG nor JPEG, or is damaged."""


class PictureTooLargeError(PictureError):
    """The picture has more pixels than may be decoded."""


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
            picture.load()
            ImageOps.exif_transpose(picture, in_place=True)
            grey = np.asarray(_grey(picture))
    except PictureError:
        raise
    except Exception as error:  # damaged content makes Pillow raise nearly anything
        raise UndecodablePictureError(f"the {reader.format} is damaged and cannot be decoded") from error
    return to_mnist(grey)


def to_mnist(grey: npt.NDArray[np.uint8] | npt.NDArray[np.floating[Any]]) -> Digit:
    """Bring a grey picture to MNIST's form: size, place, polarity and contrast.

    A picture of 28x28 is taken to be in that form already, but for its polarity. A blank one becomes all zeros.

    Args:
        grey: ``[height, width]`` of any size, dark ink on light paper or light on dark; levels of 0..255, to which
            floating ones are clipped.

    Returns:
        uint8 ``[28, 28]``, white ink on black.
    """
    levels = np.nan_to_num(np.clip(grey, 0, 255)).astype(np.float32)
    if levels.size == 0 or np.ptp(levels) < BLANK:
        return np.zeros((SIDE, SIDE), np.uint8)
    levels = _light_on_dark(levels)
    if levels.shape == (SIDE, SIDE):
        return np.rint(levels).astype(np.uint8)
    return _centred(_fitted(_ink(levels)))


def _check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture with more pixels than may be decoded."""
    if width * height > max_pixels:
        size = f"{width:,} x {height:,} = {width * height:,} pixels"
        raise PictureTooLargeError(f"the picture has {size}; at most {max_pixels:,} are decoded")


def _grey(picture: Image.Image) -> Image.Image:
    """The first frame of a loaded picture in 8-bit grey, on a paper where it is transparent."""
    if picture.mode == "I;16":  # Pillow would clip 16 bits to 8; this rounds, and 257 * level becomes level
        return Image.fromarray(((np.asarray(picture, np.uint32) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        grey, alpha = picture.convert("LA").split()
        return Image.composite(grey, Image.new("L", grey.size, _paper_behind(grey, alpha)), alpha)
    return picture.convert("L")


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


def _border(levels: Levels) -> float:
    """The median level along the four sides, which is the paper's."""
    return float(np.median(np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])))


def _light_on_dark(levels: Levels) -> Levels:
    """Invert the levels if the paper is lighter than the ink, the ink being what is farthest from the paper."""
    paper = _border(levels)
    return 255 - levels if paper - levels.min() > levels.max() - paper else levels


def _ink(levels: Levels) -> Levels:
    """How much ink each pixel has, 0..1, cropped to the box of those that have more than half.

    Full ink is the median over the pixels of more than half the greatest contrast with the paper, so that a few
    stray pixels do not set it.
    """
    contrast = levels - _border(levels)
    full = np.median(contrast[contrast > contrast.max() / 2])
    ink: Levels = np.clip((contrast / full - GRAIN) / (1 - GRAIN), 0, 1)
    inked = ink > 0.5
    return np.ascontiguousarray(ink[_extent(inked.sum(axis=1)), _extent(inked.sum(axis=0))])


def _extent(profile: npt.NDArray[np.int_]) -> slice:
    """From where to where the ink goes along a side, given the number of inked pixels along it."""
    until, stray = profile.cumsum(), STRAY * profile.sum()
    within = np.flatnonzero((until > stray) & (until - profile < until[-1] - stray))
    return slice(within[0], within[-1] + 1)


def _fitted(ink: Levels) -> Levels:
    """Scale the ink so that its longer side is that of the box and its strongest level 255.

    The filter averages over the area that a pixel shrinks from, and has no negative weight to ring with.
    """
    height, width = (max(1, round(side * BOX / max(ink.shape))) for side in ink.shape)
    fitted: Levels = np.asarray(Image.fromarray(ink).resize((width, height), Image.Resampling.HAMMING))
    return fitted * (255 / float(fitted.max()))


def _centred(box: Levels) -> Digit:
    """Place the box in 28x28 with its centre of mass at the centre, as far as it stays inside."""
    places = tuple(_place(box.sum(axis=axis)) for axis in (1, 0))
    digit = np.zeros((SIDE, SIDE), np.uint8)
    digit[places] = np.rint(box)
    return digit


def _place(profile: Levels) -> slice:
    """Where a side of the box goes, given the ink along it."""
    centre_of_mass = np.average(np.arange(len(profile)), weights=profile)
    start = int(np.clip(round(CENTRE - centre_of_mass), 0, SIDE - len(profile)))
    return slice(start, start + len(profile))
