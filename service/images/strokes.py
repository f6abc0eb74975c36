"""Finds the ink of a picture from the contrast of each pixel with the paper."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.images.lines import without_lines
from service.images.paper import Levels, border, slid
from service.images.pieces import Mask, Pieces, digit_among, fat_at_side, pieces_of, several_digits

Ink = npt.NDArray[np.float32]  # [height, width]

SAMPLE = 10_000  # the noise of the paper is estimated from about this many pixels
FAINTEST = 3  # levels: the least contrast of ink; a lower contrast can come from rounding
CERTAIN = 5  # the least contrast of ink, in standard deviations of the paper
CLEAR = 9  # below this contrast, in standard deviations of the paper, one piece must be most of the ink
IN_NOISE = 2.5  # the least contrast of ink in a noisy picture, in the same unit, if the ink is one large piece
BLOB = 6  # pixels: noise makes pieces that are shorter than this, so ink in a noisy picture is longer ...
WHOLE = 0.5  # ... and is at least this part of all equally dark pixels
LARGE = 0.25  # ink of low contrast in noise is longer than this part of the picture's longer side
PERCOLATION = 0.4  # noise makes one large piece if more than this part of the pixels is dark (Malarz and Galam 2005)
SCATTERED = 0.4  # ink is at least this part of all equally dark pixels, because textured paper is dark in many places
DUST = 0.025  # ink is dust on blank paper if its pieces are below this part of the picture's longer side ...
DOTS = 6  # ... unless there are at least this many pieces, because a dotted pen makes many
MARGIN = 10  # the soft edge of the ink is as wide as its box's longer side divided by this
HALO = 0.2  # the paper beyond the soft edge has less than this part of the ink's contrast; shadows fade out slowly
GRAIN = 0.1  # this part of the ink's contrast counts as grain of the paper ...
GRAINS = 3  # ... or this many standard deviations of the paper, if they are more ...
COARSE = 0.4  # ... but no more than this part
FAINT = 40  # levels: ink of less contrast is accepted only on an even paper
EVEN = 0.06  # a paper is even if its mean deviation is less than this part of the ink's contrast
COVERED = 0.6  # ink covers less than this part of the picture
BORDER = 0.2  # ink covers less than this part of the picture's border ...
NARROW = 8  # pixels: a picture with a shorter side is all border
CUT_OUT = 0.5  # ... or less than this part if it reaches all sides, like a digit that was cut out along its box


class Strokes(NamedTuple):
    """Ink that was found.

    Attributes:
        ink: how much ink each pixel has, 0..1, cropped to the box of the ink.
        box: the rows and columns of the ink in the picture.
        full: the contrast of full ink, in levels.
        unevenness: the mean deviation of the paper around the ink, as a part of the ink's contrast.
        likely: whether the ink is in a likely place; tables and shadows are along the border.
        marks: how many digits there are if the number is certain, and otherwise 1.
    """

    ink: Ink
    box: tuple[slice, slice]
    full: float
    unevenness: float
    likely: bool
    marks: int

    @property
    def is_clear(self) -> bool:
        """Whether the ink is likely and on an even paper."""
        return self.likely and self.unevenness < EVEN

    @property
    def doubt(self) -> float:
        """The less the ink stands out, and the more uneven the paper is, the more doubtful the ink is."""
        return self.unevenness / self.full


class Marks(NamedTuple):
    """The pixels that are as dark as ink.

    Attributes:
        pieces: the pieces of these pixels, without frames and other lines.
        digit: which of the pieces are the digit.
        mask: the mask of the digit.
        lines: the pixels of the removed lines.
        others: the dark pixels that belong neither to a line nor to the digit.
    """

    pieces: Pieces
    digit: Mask
    mask: Mask
    lines: Mask
    others: Mask


def strokes_of(contrast: Levels, *, noisy: bool = False) -> Strokes | None:
    """The ink of a picture; None if there is no ink.

    The contrast of full ink is the median over the pixels with more than half of the greatest contrast, so that a few
    stray pixels do not determine it. Pixels with more than half of the full contrast are as dark as ink.

    Args:
        contrast: float32 ``[height, width, channels]``, the difference of each pixel from the paper, in levels. Ink can
            be positive or negative.
        noisy: whether the picture is noisy. A large piece is then ink even if its contrast is low compared with the
            noise, because noise makes many small pieces.
    """
    plain = _in_ink_colour(contrast)
    level, spread = _paper(plain)
    plain = plain - level
    full = float(np.median(plain[plain >= plain.max() / 2]))
    if full < max(FAINTEST, (IN_NOISE if noisy else CERTAIN) * spread):
        return None
    marks = _marks(plain > full / 2)
    if _is_blank(marks, one_piece=noisy or full < CLEAR * spread):
        return None
    if noisy and not _exceeds_noise(marks, weak=full < CERTAIN * spread):
        return None
    return _strokes(plain, full, spread, marks)


def _in_ink_colour(contrast: Levels) -> Ink:
    """The contrast as one number for each pixel, positive for ink.

    The weights of the channels are the ink's own colour, which is the direction of the greatest contrast.
    """
    strength = np.square(contrast).sum(axis=2)
    colour = contrast[strength >= strength.max() / 4].mean(axis=0)
    length = float(np.linalg.norm(colour)) * len(colour) ** 0.5
    plain: Ink = contrast @ colour / max(length, 1e-9)
    return plain


def _paper(plain: Ink) -> tuple[float, float]:
    """The median contrast of the paper, and the standard deviation of a normal distribution with its deviations."""
    paper = plain[plain < plain.max() / 2]
    paper = paper[:: 1 + paper.size // SAMPLE]
    if paper.size == 0:
        return 0.0, 0.0
    centre = float(np.median(paper))
    return centre, 1.4826 * float(np.median(np.abs(paper - centre)))


def _marks(dark: Mask) -> Marks:
    """Find the digit among the pixels that are as dark as ink."""
    pieces, lines, others = pieces_of(dark), np.zeros_like(dark), np.zeros_like(dark)
    if cleared := without_lines(pieces):
        pieces, lines, others = cleared
    digit = digit_among(pieces)
    mask = pieces.chosen(digit)
    return Marks(pieces, digit, mask, lines, others | (pieces.mask & ~mask))


def _is_blank(marks: Marks, *, one_piece: bool) -> bool:
    """Whether the pixels that are as dark as ink are not ink, but texture or dust.

    Args:
        marks: the pixels that are as dark as ink.
        one_piece: whether the contrast is so weak that one piece must be most of the ink.
    """
    areas = marks.pieces.areas
    ink = areas.max() if one_piece else marks.mask.sum()
    sizes = np.maximum(marks.pieces.heights, marks.pieces.widths)[marks.digit]
    dust = sizes.max() < DUST * max(marks.mask.shape) and len(sizes) < DOTS
    return bool(ink < SCATTERED * areas.sum() or dust)


def _exceeds_noise(marks: Marks, *, weak: bool) -> bool:
    """Whether the largest piece is too large for noise, and is most of the pixels that are as dark as ink.

    Args:
        marks: the pixels that are as dark as ink.
        weak: whether the contrast is so weak that only a large piece among few dark pixels can be ink.
    """
    pieces, size = marks.pieces, marks.mask.size
    largest = int(np.argmax(pieces.areas))
    length = max(pieces.heights[largest], pieces.widths[largest])
    if weak and (length < LARGE * max(marks.mask.shape) or pieces.areas.sum() > PERCOLATION * size):
        return False
    return bool(length >= BLOB and pieces.areas[largest] >= WHOLE * pieces.areas.sum())


def _strokes(plain: Ink, full: float, spread: float, marks: Marks) -> Strokes | None:
    """The ink of marks; None if the surroundings do not look like paper."""
    mask, pieces = marks.mask, marks.pieces
    soft = max(1, max(side.stop - side.start for side in box_of(mask)) // MARGIN)
    hidden = marks.lines | marks.others
    others = _grown(hidden, 1) & ~mask
    edge = _grown(mask, soft) & ~others
    halo = plain[_grown(edge, soft) & ~edge & ~others]
    bare = plain[~edge & ~hidden]
    unevenness = float(np.abs(bare).mean()) / full if bare.size else 0.0
    if (halo.size and halo.mean() > HALO * full) or (full < FAINT and unevenness > EVEN):
        return None
    grain = max(GRAIN, min(GRAINS * spread / full, COARSE))
    ink: Ink = np.clip((plain / full - grain) / (1 - grain), 0, 1) * edge
    box = box_of(ink > 0)
    on_border = border(mask | marks.others).mean()
    cut_out = pieces.sides[marks.digit].any(axis=0).all() and on_border < CUT_OUT
    inside = (on_border < BORDER and not fat_at_side(pieces)) or min(mask.shape) < NARROW
    likely = bool(mask.mean() < COVERED and (cut_out or inside))
    count = several_digits(pieces, marks.digit)
    return Strokes(np.ascontiguousarray(ink[box], np.float32), box, full, unevenness, likely, count)


def box_of(mask: Mask) -> tuple[slice, slice]:
    """The rows and columns of the smallest box around a mask."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _grown(mask: Mask, by: int) -> Mask:
    """A mask together with the pixels within a distance of it, along the rows and the columns."""
    width, padded = 2 * by + 1, np.pad(mask, by)
    for axis in (0, 1):
        padded = slid(padded, width, axis, np.maximum)
    return padded
