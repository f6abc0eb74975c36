"""Removes straight lines that do not belong to a digit: frames, and the lines of cells and grids."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.images.paper import slid
from service.images.pieces import Mask, Pieces, pieces_of

LONG = 0.85  # a line covers at least this part of the region's side that is parallel to the line
STEEP = 0.06  # the tangent of the greatest angle between a line and the sides of the picture
THIN = 0.05  # a line is thinner than this part of the region's side that is perpendicular to the line
COLUMNS = 64  # lines are searched in fewer than twice this many columns of a mask
BAND = 0.08  # the sides of a frame are within this part of its height and width
REST = 0.15  # a remainder of lines, at their crossings, has less than this part of the digit's area
AROUND = 2  # pixels around a frame, which distinguish a stroke that ends on the frame from a side of the picture
INSIDE = 0.3  # a digit in a frame is at least this part of the frame's height
AMONG = 0.12  # a digit among lines that go across the picture is at least this part of the picture's height

Region = tuple[slice, slice]


class Cleared(NamedTuple):
    """A mask without lines.

    Attributes:
        pieces: the pieces that remain.
        lines: the pixels of the removed lines.
        others: the pixels of the mask that belong neither to a line nor to the remaining pieces.
    """

    pieces: Pieces
    lines: Mask
    others: Mask


def without_lines(pieces: Pieces) -> Cleared | None:
    """Remove frames and the lines of cells and grids; None if there are no such lines.

    We search for lines if a piece reaches from one side of the picture to the opposite side, or has a straight line
    along each side of its box. We remove the lines only if ink remains inside that touches no side of the picture. A
    seven that was cut out along its box also has a straight line at its top, and must keep this line.
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
    """Whether there is ink along each side of a mask. One side at most may be out of view."""
    deep, wide = (max(1, round(BAND * side)) for side in mask.shape)
    bands = mask[:deep], mask[-deep:], mask[:, :wide].T, mask[:, -wide:].T
    lined = [float(band.any(axis=0).mean()) >= LONG for band in bands]
    return all(lined[side] or not in_view[side] for side in range(4)) and sum(lined) >= 3


def _cleared(pieces: Pieces, region: Region, least: float) -> Cleared | None:
    """A mask without the lines in a region, if the remaining ink in the region is as high as a digit there.

    Args:
        pieces: the pieces of the mask.
        region: the rows and columns of the region.
        least: the least height of a digit, as a part of the region's height.
    """
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
    """The pixels of a mask that belong to lines from the left to the right.

    We shear the mask by a few angles. A line at one of these angles becomes a full row.
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
    row = np.arange(height)[:, np.newaxis] - shift
    lines: Mask = mask & full[np.clip(row, 0, height - 1)] & (row >= 0) & (row < height)
    return lines


def _thin_runs(flags: Mask, most: int) -> Mask:
    """The flags that belong to runs of at most `most` flags."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    thin = np.zeros_like(flags)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        thin[start:end] = end - start <= most
    return thin


def _closed(mask: Mask, axis: int, part: float) -> npt.NDArray[np.bool_]:
    """A mask whose gaps along an axis are filled, if they are narrower than a part of the side along this axis."""
    width = max(3, round(part * mask.shape[axis])) + 2
    reach = [(0, 0), (0, 0)]
    reach[axis] = (width - 1, width - 1)
    return slid(slid(np.pad(mask, reach), width, axis, np.maximum), width, axis, np.minimum)
