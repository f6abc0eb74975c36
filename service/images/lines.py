"""Frames, the lines of cells and grids: straight lines that are no part of a digit."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.images.paper import slid
from service.images.pieces import Mask, Pieces, pieces_of

LONG = 0.85  # a line covers at least this part of the region's side along which it runs
STEEP = 0.06  # the tangent of the greatest angle between a line and the sides of the picture
THIN = 0.05  # a line is thinner than this part of the region's side across which it runs
COLUMNS = 64  # of a mask, at most, on which lines are looked for
BAND = 0.08  # the sides of a frame are within this part of its height and width
REST = 0.15  # what is left of lines where others cross them is less than this part of the digit's area
AROUND = 2  # pixels around a frame, so that a stroke that ends on it is told from a side of the picture
INSIDE = 0.3  # a digit in a frame is at least this part of the frame's height
AMONG = 0.12  # a digit among lines that go across the picture is at least this part of the picture's height

Region = tuple[slice, slice]


class Cleared(NamedTuple):
    """A mask without lines.

    Attributes:
        pieces: what is left of it.
        lines: that were taken away.
        others: what is neither a line nor left.
    """

    pieces: Pieces
    lines: Mask
    others: Mask


def without_lines(pieces: Pieces) -> Cleared | None:
    """Take away frames and the lines of cells and grids; None where there are none.

    Lines are looked for where a piece reaches from one side of the picture to the opposite one, or has a straight line
    along each side of its box. They are taken away only if ink is left inside, which touches no side of the picture:
    the top of a seven that was cut out along its box is as straight.
    """
    large = pieces.largest(np.ones(len(pieces.areas), bool))
    height, width = pieces.mask.shape
    if pieces.across[large].any():
        return _cleared(pieces, (slice(0, height), slice(0, width)), AMONG)
    for number in large:
        top, bottom, left, right = (int(side) for side in pieces.boxes[number])
        region = slice(top, bottom), slice(left, right)
        if _is_frame(pieces.mask[region], ~pieces.sides[number]):
            around = tuple(slice(max(0, at.start - AROUND), at.stop + AROUND) for at in region)
            if cleared := _cleared(pieces, (around[0], around[1]), INSIDE):
                return cleared
    return None


def _is_frame(mask: Mask, in_view: npt.NDArray[np.bool_]) -> bool:
    """Whether there is ink along each side of a mask; but for one side at most that is out of view."""
    deep, wide = (max(1, round(BAND * side)) for side in mask.shape)
    bands = mask[:deep], mask[-deep:], mask[:, :wide].T, mask[:, -wide:].T
    lined = [float(band.any(axis=0).mean()) >= LONG for band in bands]
    return all(lined[side] or not in_view[side] for side in range(4)) and sum(lined) >= 3


def _cleared(pieces: Pieces, region: Region, least: float) -> Cleared | None:
    """A mask without the lines in a region, if what is left in it is as high as a digit there."""
    part = pieces.mask[region]
    across, down = _lines(part), _lines(part.T).T
    lines = across | down
    if not lines.any():
        return None
    rest = part & ~lines
    rest |= (_closed(rest, 0, THIN) & across) | (_closed(rest, 1, THIN) & down)
    if not rest.any():
        return None
    left = pieces_of(rest)
    inside = ~left.at_side
    if not inside.any():
        return None
    largest = int(np.argmax(left.areas * inside))
    if left.heights[largest] < least * part.shape[0] or 2 * left.areas[largest] < left.areas.max():
        return None
    kept, gone = np.zeros_like(pieces.mask), np.zeros_like(pieces.mask)
    kept[region] = left.chosen(inside & left.near(largest) & (left.areas >= REST * left.areas[largest]))
    gone[region] = lines & ~kept[region]
    others = pieces.mask & ~kept & ~gone
    return Cleared(pieces_of(kept), gone, others)


def _lines(mask: Mask) -> Mask:
    """The pixels of a mask that belong to lines from its left to its right.

    The mask is sheared by a few angles. Where it has a line at such an angle, the line becomes a row that is full.
    """
    height, width = mask.shape
    thick = mask.copy()
    thick[1:] |= mask[:-1]
    thick[:-1] |= mask[1:]
    columns = np.arange(0, width, max(1, width // COLUMNS))
    most = int(np.ceil(STEEP * width / 2))
    padded = np.pad(thick, ((most, most), (0, 0)))
    rows = np.arange(most, most + height)[:, np.newaxis]
    covers = []
    for reach in range(-most, most + 1):
        shift = np.rint(reach * (2 * columns / width - 1)).astype(np.int_)
        covers.append(padded[rows + shift, columns].mean(axis=1))
    best = int(np.argmax([np.square(np.square(cover)).sum() for cover in covers]))
    full = _thin_runs(covers[best] >= LONG, max(3, round(THIN * height)) + 2)
    shift = np.rint((best - most) * (2 * np.arange(width) / width - 1)).astype(np.int_)
    place = np.arange(height)[:, np.newaxis] - shift
    lines: Mask = mask & full[np.clip(place, 0, height - 1)] & (place >= 0) & (place < height)
    return lines


def _thin_runs(rows: Mask, most: int) -> Mask:
    """Those of the flags that are in runs of at most so many."""
    edges = np.flatnonzero(np.diff(rows.astype(np.int8), prepend=0, append=0))
    thin = np.zeros_like(rows)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        thin[start:end] = end - start <= most
    return thin


def _closed(mask: Mask, axis: int, part: float) -> npt.NDArray[np.bool_]:
    """A mask whose gaps along an axis are filled, if they are narrower than a part of its side."""
    width = max(3, round(part * mask.shape[axis])) + 2
    reach = [(0, 0), (0, 0)]
    reach[axis] = (width - 1, width - 1)
    return slid(slid(np.pad(mask, reach), width, axis, np.maximum), width, axis, np.minimum)
