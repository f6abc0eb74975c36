"""Where the ink is in a picture, and how much: by pens of any colour, under uneven light, on a paper on a table."""

from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]  # [height, width] or [height, width, channels]
Levels = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]
Runs = npt.NDArray[np.int_]  # one number for each run of a mask
Array = TypeVar("Array", Pixels, Levels)
Counted = TypeVar("Counted", Pixels, Mask)

WORKING = 256  # a picture whose longer side is twice that or more is reduced first, which averages its noise too
WIDEST = 3  # strokes are narrower than this part of the longer side; wider differences are light, shadow and table
FAINT = 24  # levels of contrast that ink has at least, as grey; light that falls off beside a shadow makes some 20
CERTAIN = 5  # and so many standard deviations of the paper's noise
GRAIN = 0.1  # the part of the ink's contrast that is taken for grain of the paper
PIECE = 0.08  # a piece of ink that has less than this part of the largest one's area is a speck
DUST = 0.02  # ink whose box has less than this part of the picture's longer side is dust on a blank paper
MARGIN = 10  # ink's soft edge is within this part of its box's longer side


class Strokes(NamedTuple):
    """Ink that was found.

    Attributes:
        ink: how much of it each pixel has, 0..1, cropped to its box.
        sides: how many of the picture's sides it touches.
    """

    ink: Levels
    sides: int


def find_ink(picture: Pixels) -> Levels | None:
    """How much ink each pixel has, 0..1, cropped to its box; None where there is none.

    Args:
        picture: grey or in colours, one of whose sides may be long.
    """
    longer = max(picture.shape[:2])
    if longer >= 2 * WORKING:
        picture = np.asarray(Image.fromarray(picture).reduce(longer // WORKING))
    levels, grey = np.atleast_3d(picture), grey_of(picture)
    mostly_light, light_border = _mostly_light(grey), light_at_border(grey)
    # In each channel by itself: a blue pen on yellow paper is darker in red and green, and lighter in blue.
    lights = [_mostly_light(channel) for channel in np.moveaxis(levels, 2, 0)]
    dark = np.where(lights, levels, 255 - levels)
    found = _strokes(_black_top_hat(dark)) or _strokes(_black_top_hat(255 - dark))
    if found is None or found.sides or mostly_light != light_border:
        cut_out = _cut_out(levels, ink_is_dark=light_border)
        # What reaches all sides is a digit cut out along its box: light, shadow and table leave one to the paper.
        if cut_out is not None and cut_out.sides == 4:
            found = cut_out
    return None if found is None else found.ink


def _cut_out(levels: Pixels, *, ink_is_dark: bool) -> Strokes | None:
    """The ink of an even picture that has little else, most of its border being paper."""
    signed = levels.astype(np.float32)
    paper = np.median(_border(signed), axis=0)
    return _strokes(paper - signed if ink_is_dark else signed - paper)


def grey_of(picture: Pixels) -> Pixels:
    """The luminance of a picture that may be in colours."""
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


def _border(levels: Array) -> Array:
    """The pixels along the four sides, one after another."""
    return np.concatenate([levels[0], levels[-1], levels[:, 0], levels[:, -1]])


def light_at_border(grey: Pixels) -> bool:
    """Whether ink, what is farthest from the level along the border, is darker than that."""
    paper = float(np.median(_border(grey)))
    return bool(paper - grey.min() > grey.max() - paper)


def _mostly_light(channel: Pixels) -> bool:
    """Whether what is farthest from most of the picture is darker than that; in logarithms, as light multiplies."""
    low, paper, high = np.log(np.array([channel.min(), np.median(channel), channel.max()]) + 16.0)
    return bool(paper - low > high - paper)


def _black_top_hat(levels: Pixels) -> Levels:
    """How much darker each pixel is than its background: the closing by a square wider than any stroke, less it.

    A closing fills what is narrower than the square and leaves what is wider, with its edges, as it is (Serra 1982,
    *Image Analysis and Mathematical Morphology*). Beyond the border goes on what is there, so that a table that
    shows a little is wide.
    """
    width = max(2, max(levels.shape) // WIDEST)
    reach = ((width - 1,) * 2, (width - 1,) * 2, (0, 0))
    filled = np.pad(levels, reach, mode="edge")
    for extreme in (np.maximum, np.minimum):
        for axis in (0, 1):
            filled = _slid(filled, width, axis, extreme)
    return (filled - levels).astype(np.float32)


def _slid(levels: Counted, width: int, axis: int, extreme: np.ufunc) -> Counted:
    """The extreme over each window of a width, in as many steps as the width has bits."""
    levels, done = np.moveaxis(levels, axis, 0), 1
    while done < width:
        shift = min(done, width - done)
        levels = extreme(levels[:-shift], levels[shift:])
        done += shift
    return np.moveaxis(levels, 0, axis)


def _strokes(contrast: Levels) -> Strokes | None:
    """The ink, from the contrast of each channel with the background; None where there is none.

    The channels are weighed by the ink's own colour, the direction in which it stands out most. Full ink is the median
    over the pixels of more than half the greatest contrast, so that a few stray pixels do not set it.
    """
    strength = np.square(contrast).sum(axis=2)
    colour = contrast[strength >= strength.max() / 4].mean(axis=0)
    contrast = contrast @ colour / max(float(np.linalg.norm(colour)) * len(colour) ** 0.5, 1e-9)
    paper = contrast[contrast < contrast.max() / 2]
    level, noise = _centre_and_spread(paper) if paper.size else (0.0, 0.0)
    contrast = contrast - level
    full = float(np.median(contrast[contrast >= contrast.max() / 2]))
    if full < max(FAINT, CERTAIN * noise):
        return None
    mask = _digit(contrast > full / 2)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    if max(side.stop - side.start for side in box) < DUST * max(mask.shape):
        return None
    edge = _grown(mask, max(1, max(map(len, (rows, columns))) // MARGIN))
    ink: Levels = np.clip((contrast / full - GRAIN) / (1 - GRAIN), 0, 1) * edge
    sides = sum(bool(side.any()) for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]))
    return Strokes(np.ascontiguousarray(ink[box], np.float32), sides)


def _centre_and_spread(levels: Levels) -> tuple[float, float]:
    """The median, and the standard deviation of a normal distribution with the same median deviation from it."""
    centre = float(np.median(levels))
    return centre, 1.4826 * float(np.median(np.abs(levels - centre)))


def _grown(mask: Mask, by: int) -> Mask:
    """A mask and what is around it."""
    width, padded = 2 * by + 1, np.pad(mask, by)
    for axis in (0, 1):
        padded = _slid(padded, width, axis, np.maximum)
    return padded


def _digit(mask: Mask) -> Mask:
    """The largest connected piece of a mask, and what is not much smaller; no line across the whole picture."""
    starts, ends, pieces = _pieces(mask)
    areas = np.bincount(pieces, ends - starts, len(pieces))
    large = areas >= PIECE * areas.max()
    sides = _sides(mask.shape, starts, ends, pieces)
    across = (sides[0] & sides[1]) | (sides[2] & sides[3])
    # As a notebook's margin is. A digit cut out along its box may reach as far, but then the rest of it has a side too.
    if (large & ~across).any() and not (large & ~across & sides.any(axis=0)).any():
        areas = np.where(across, 0, areas)
        large = areas >= PIECE * areas.max()
    digit = np.zeros_like(mask)
    digit[mask] = np.repeat(large[pieces], ends - starts)
    return digit


def _sides(shape: tuple[int, int], starts: Runs, ends: Runs, pieces: Runs) -> npt.NDArray[np.bool_]:
    """Whether each piece of a mask of a shape reaches the top, the bottom, the left, the right: [4, pieces]."""
    rows, columns = shape
    row, start = np.divmod(starts, columns + 1)
    reached = (row == 0, row == rows - 1, start == 0, ends - starts + start == columns)
    return np.stack([np.bincount(pieces, side, len(pieces)) > 0 for side in reached])


def _pieces(mask: Mask) -> tuple[Runs, ...]:
    """The runs of a mask along its rows: where each starts and ends, and the number of its connected piece.

    Places count along the rows, each of which has a column more than the mask.

    Pieces touch at corners too. Each run takes the lowest number among itself and those that it touches in the next
    row, over and over, and each number then that of the run which it names, so that few rounds suffice.
    """
    stride = mask.shape[1] + 1  # a column more, so that no run goes on in the next row
    edges = np.flatnonzero(np.diff(np.pad(mask, ((0, 0), (0, 1))).ravel().view(np.int8), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    first, last = np.searchsorted(ends, starts + stride), np.searchsorted(starts, ends + stride, "right")
    touching = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), touching)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(touching) - touching - first, touching)
    pieces = np.arange(len(starts))
    while True:
        before = pieces.copy()
        lowest = np.minimum(pieces[upper], pieces[lower])
        np.minimum.at(pieces, upper, lowest)
        np.minimum.at(pieces, lower, lowest)
        pieces = pieces[pieces]
        if np.array_equal(pieces, before):
            return starts, ends, pieces
