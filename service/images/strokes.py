"""The ink of a picture, from how far each pixel stands out from the paper."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.images.lines import without_lines
from service.images.paper import Levels, border, slid
from service.images.pieces import Mask, Pieces, digit_among, fat_at_side, pieces_of, several_digits

Ink = npt.NDArray[np.float32]  # [height, width]

SAMPLE = 10_000  # pixels of the paper from which its noise is estimated
FAINTEST = 3  # levels: ink has at least that contrast, because less can be rounding
CERTAIN = 5  # ink has at least so many standard deviations of the paper as contrast
CLEAR = 9  # if ink has fewer standard deviations of the paper than that, one piece must be most of it
SCATTERED = 0.4  # ink is at least this part of all that is as dark: textured paper is dark in many places
DUST = 0.025  # ink whose pieces have less than this part of the picture's longer side is dust on blank paper ...
DOTS = 6  # ... unless there are so many pieces, as a dotted pen makes
MARGIN = 10  # the soft edge of the ink is within this part of its box's longer side
HALO = 0.2  # the paper beyond the soft edge has less than this part of the ink's contrast: shadows fade out slowly
GRAIN = 0.1  # this part of the ink's contrast is taken for grain of the paper ...
GRAINS = 3  # ... or so many standard deviations of the paper, if they are more ...
COARSE = 0.4  # ... but no more than this part
FAINT = 40  # levels: ink of less contrast is believed only on an even paper
EVEN = 0.06  # a paper is even if its mean deviation is less than this part of the ink's contrast
COVERED = 0.6  # ink covers less than this part of the picture
BORDER = 0.2  # ink covers less than this part of the picture's border ...
NARROW = 8  # pixels: a picture with a shorter side is all border
CUT_OUT = 0.5  # ... or less than this part, if it reaches all sides, as a digit does that was cut out along its box


class Strokes(NamedTuple):
    """Ink that was found.

    Attributes:
        ink: how much of it each pixel has, 0..1, cropped to its box.
        box: rows and columns of the picture.
        full: the contrast of full ink, in levels.
        unevenness: the mean deviation of the paper around it, as a part of the ink's contrast.
        likely: whether it is where ink is, and not along the border as tables and shadows are.
        marks: how many digits there are, if that is certain, and otherwise 1.
    """

    ink: Ink
    box: tuple[slice, slice]
    full: float
    unevenness: float
    likely: bool
    marks: int

    @property
    def is_clear(self) -> bool:
        """Whether it is likely and on an even paper."""
        return self.likely and self.unevenness < EVEN

    @property
    def doubt(self) -> float:
        """The less the ink stands out, and the more uneven the paper is, the more doubtful the ink is."""
        return self.unevenness / self.full


class Marks(NamedTuple):
    """What is as dark as ink.

    Attributes:
        pieces: of it, without frames and other lines.
        digit: which of the pieces are the digit.
        mask: of the digit.
        lines: that were taken away.
        others: what is neither a line nor the digit.
    """

    pieces: Pieces
    digit: Mask
    mask: Mask
    lines: Mask
    others: Mask


def strokes_of(contrast: Levels) -> Strokes | None:
    """The ink of a picture; None where there is none.

    Full ink is the median over the pixels that have more than half of the greatest contrast, so that a few stray
    pixels do not set it. Pixels with more than half of that are as dark as ink.

    Args:
        contrast: float32 ``[height, width, channels]``, how much each pixel differs from the paper, in levels. Ink can
            be positive or negative.
    """
    plain = _in_ink_colour(contrast)
    level, spread = _paper(plain)
    plain = plain - level
    full = float(np.median(plain[plain >= plain.max() / 2]))
    if full < max(FAINTEST, CERTAIN * spread):
        return None
    marks = _marks(plain > full / 2)
    if _is_blank(marks, one_piece=full < CLEAR * spread):
        return None
    return _strokes(plain, full, spread, marks)


def _in_ink_colour(contrast: Levels) -> Ink:
    """The contrast as one number a pixel, positive for ink.

    The channels are weighed by the ink's own colour, which is the direction in which the picture stands out most.
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
    """The digit among what is as dark as ink."""
    pieces, lines, others = pieces_of(dark), np.zeros_like(dark), np.zeros_like(dark)
    if cleared := without_lines(pieces):
        pieces, lines, others = cleared
    digit = digit_among(pieces)
    mask = pieces.chosen(digit)
    return Marks(pieces, digit, mask, lines, others | (pieces.mask & ~mask))


def _is_blank(marks: Marks, *, one_piece: bool) -> bool:
    """Whether what is as dark as ink is no ink: texture or dust.

    Args:
        marks: what is as dark as ink.
        one_piece: whether the contrast is so weak that one piece must be most of the ink.
    """
    areas = marks.pieces.areas
    ink = areas.max() if one_piece else marks.mask.sum()
    sizes = np.maximum(marks.pieces.heights, marks.pieces.widths)[marks.digit]
    dust = sizes.max() < DUST * max(marks.mask.shape) and len(sizes) < DOTS
    return bool(ink < SCATTERED * areas.sum() or dust)


def _strokes(plain: Ink, full: float, spread: float, marks: Marks) -> Strokes | None:
    """The ink of marks; None where the paper around it is not as paper is."""
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
    """The rows and columns that a mask takes."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _grown(mask: Mask, by: int) -> Mask:
    """A mask and the pixels within a distance of it, along the rows and the columns."""
    width, padded = 2 * by + 1, np.pad(mask, by)
    for axis in (0, 1):
        padded = slid(padded, width, axis, np.maximum)
    return padded
