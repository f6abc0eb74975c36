"""Finds the ink in a picture: of a pen of any colour, under uneven light, on a paper that may lie on a desk."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from service.images.bands import without_bands
from service.images.errors import SeveralDigitsError
from service.images.noise import grain_of, smoothed, without_specks
from service.images.paper import Levels, Pixels, from_paper_nearby, from_smooth_paper, from_uneven_paper
from service.images.sharpen import sharpened
from service.images.strokes import Ink, Strokes, box_of, strokes_of

WORKING = 256  # pixels: a picture is reduced first if its longer side is at least twice as long
COARSEST = 80  # pixels: the least longer side of a picture that is reduced to average its noise
FINE = 40  # pixels: if the ink's longer side in a reduced picture is shorter, the ink is found again in the original
AROUND = 0.5  # the second search extends beyond the ink's box by this part of the box's longer side
FADED = 0.2  # the box of the ink encloses the pixels with more ink than this
SMALL = 4  # a small digit is shorter than the picture's longer side divided by this
SMALL_IN = 112  # pixels: the least longer side of a picture in which we look for a small digit
SMALL_EVEN = 0.045  # the paper around a small digit is more even than this; shadows and fog count little there
ALONE = 0.5  # next to a small digit, the contrast is below this part of the digit's contrast
OPPOSITE = 0.6  # the less probable polarity is chosen only if its ink has less doubt by this factor


def find_ink(picture: npt.NDArray[np.uint8]) -> Ink | None:
    """How much ink each pixel has, 0..1, cropped to the ink's box; None if there is no ink.

    Args:
        picture: uint8 ``[height, width]`` or ``[height, width, channels]``.

    Raises:
        SeveralDigitsError: there are several separate marks of about the same size.
    """
    if picture.ndim == 3 and (picture[..., :1] == picture[..., 1:]).all():
        picture = picture[..., 0]  # a grey picture in colours
    longer = max(picture.shape[:2])
    factor = longer // WORKING if longer >= 2 * WORKING else 1
    levels, finest = _reduced(picture, factor), 1
    while (grain := grain_of(levels)) > 1 or (grain == 1 and max(levels.shape) >= 2 * COARSEST):
        factor *= max(2, grain)
        levels = _reduced(picture, factor)
        if grain > 1:
            finest = factor
    noisy = grain == 1 or finest > 1
    levels = smoothed(levels) if noisy else without_specks(levels)
    if (even := without_bands(levels)) is not None:
        picture, levels, factor, finest = even, even, 1, 1
    found = _likeliest(levels, noisy=noisy)
    if found is None:
        return None
    if found.marks > 1:
        raise SeveralDigitsError(found.marks)
    side = max(found.ink.shape)
    if factor == finest or side >= FINE:
        return _trimmed(sharpened(found.ink))
    spare = round(AROUND * side) + 1
    part = tuple(slice(max(0, factor * (at.start - spare)), factor * (at.stop + spare)) for at in found.box)
    finer = _likeliest(_reduced(picture[part], max(finest, factor * side // FINE))) or found
    return _trimmed(sharpened(finer.ink))


def _trimmed(ink: Ink) -> Ink:
    """Ink without the faint part of its edges."""
    return np.ascontiguousarray(ink[box_of(ink > FADED)])


def _reduced(picture: npt.NDArray[np.uint8], factor: int) -> Pixels:
    """The picture averaged over squares with this side, with a dimension for the channels."""
    return np.atleast_3d(np.asarray(Image.fromarray(picture).reduce(factor)) if factor > 1 else picture)


def _likeliest(levels: Pixels, *, noisy: bool = False) -> Strokes | None:
    """The most likely ink, on the paper that explains the picture best: smooth, or uneven with dark or light ink."""
    smooth = strokes_of(from_smooth_paper(levels), noisy=noisy)
    if smooth is not None and smooth.is_clear:
        return smooth
    # Each channel has a polarity of its own: a blue pen on yellow paper is darker in red and green, lighter in blue.
    dark = np.where([_is_mostly_light(channel) for channel in np.moveaxis(levels, 2, 0)], levels, 255 - levels)
    uneven = _on_uneven_paper(dark, noisy=noisy)
    if uneven is None or not uneven.is_clear:
        opposite = strokes_of(from_uneven_paper(255 - dark), noisy=noisy)
        if uneven is None or (opposite is not None and opposite.doubt < OPPOSITE * uneven.doubt):
            uneven = opposite
    found = [strokes for strokes in (smooth, uneven) if strokes is not None and strokes.likely]
    return min(found, key=lambda strokes: strokes.doubt, default=None)


def _on_uneven_paper(levels: Pixels, *, noisy: bool) -> Strokes | None:
    """The dark ink of a picture with shadows; None if there is no ink.

    The first search also takes the narrow end of a shadow or of a desk for ink. So a second search looks only for small
    digits. We prefer its result if the first search found nothing likely, or found this digit and more.
    """
    contrast = from_uneven_paper(levels)
    found = strokes_of(contrast, noisy=noisy)
    small = strokes_of(from_paper_nearby(levels), noisy=noisy) if max(levels.shape) >= SMALL_IN else None
    if small is None or (found is not None and found.likely and not _contains(found, small)):
        return found
    one = small.likely and small.unevenness < SMALL_EVEN and small.marks == 1
    short = SMALL * max(small.ink.shape) <= max(levels.shape)
    return small if one and short and _is_alone(contrast, small.box) else found


def _contains(found: Strokes, small: Strokes) -> bool:
    """Whether the box of ink contains the middle of smaller ink."""
    sides = zip(found.box, small.box, strict=True)
    return all(outer.start <= (inner.start + inner.stop) // 2 < outer.stop for outer, inner in sides)


def _is_alone(contrast: Levels, box: tuple[slice, slice]) -> bool:
    """Whether a box has no ink next to it. A part of a larger digit is not alone."""
    strength = contrast.max(axis=2)
    spare = max(2, max(side.stop - side.start for side in box) // 4)
    around = np.zeros(strength.shape, bool)
    around[tuple(slice(max(0, side.start - spare), side.stop + spare) for side in box)] = True
    around[box] = False
    return bool(strength[around].max(initial=0) < ALONE * strength[box].max())


def _is_mostly_light(channel: npt.NDArray[np.uint8]) -> bool:
    """Whether the level farthest from the median is darker than the median.

    We compare logarithms, because light multiplies the levels.
    """
    low, paper, high = np.log(np.array([channel.min(), np.median(channel), channel.max()]) + 16.0)
    return bool(paper - low > high - paper)
