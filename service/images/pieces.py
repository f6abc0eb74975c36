"""Finds the connected pieces of a mask, and decides which of them are the digit."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from service.images.paper import slid

Mask = npt.NDArray[np.bool_]  # [height, width]
Numbers = npt.NDArray[np.int_]  # one number for each run of a mask, or for each piece

PIECE = 0.08  # a piece with less than this part of the largest piece's area is a speck
FEW = 8  # at most this many pieces are examined one by one
NEAR = 0.5  # a piece is near another if their distance is at most this part of the other's longer side
SMALL = 0.3  # a piece that is not near belongs to the digit from this part of the main piece's area on
INNER = 0.25  # a piece that touches no side is the main piece of the digit from this part of the largest area on
ALIKE = 0.3  # marks are of about the same size if each has at least this part of the largest mark's area ...
AS_HIGH = 0.6  # ... and each has at least this part of the greatest height
WIDER = 1.3  # a row of marks is wider than one digit if its width is more than its height times this
MOST_MARKS = 6  # more marks can be the dots of a dotted pen
FAT = 0.5  # a stroke is thinner than this part of the longer side of its piece


class Pieces(NamedTuple):
    """The connected pieces of a mask; pixels that touch at a corner are connected.

    Attributes:
        mask: the mask with the pieces.
        starts: the start of each run of pixels along a row, as an index into the flattened mask with one more column.
        ends: the end of each run, as such an index.
        numbers: the number of the piece to which each run belongs.
        areas: the area of each piece, in pixels.
        boxes: the box of each piece: first row, row after the last, first column, column after the last;
            ``[pieces, 4]``.
    """

    mask: Mask
    starts: Numbers
    ends: Numbers
    numbers: Numbers
    areas: Numbers
    boxes: Numbers

    def chosen(self, which: Mask) -> Mask:
        """The mask of some of the pieces. ``which`` has a flag for each piece."""
        mask = np.zeros_like(self.mask)
        mask[self.mask] = np.repeat(which[self.numbers], self.ends - self.starts)
        return mask

    def largest(self, which: Mask) -> Numbers:
        """The numbers of the largest among some of the pieces, a few at most, without specks."""
        areas = self.areas * which
        numbers = np.argsort(-areas, kind="stable")[:FEW]
        largest: Numbers = numbers[areas[numbers] >= PIECE * self.areas.max()]
        return largest

    def near(self, number: int) -> Mask:
        """Whether each piece is near a given piece, relative to the length of the given piece."""
        top, bottom, left, right = self.boxes.T
        gaps = top - bottom[number], top[number] - bottom, left - right[number], left[number] - right
        near: Mask = np.max(gaps, axis=0) <= NEAR * max(self.heights[number], self.widths[number])
        return near

    @property
    def heights(self) -> Numbers:
        """The height of each piece."""
        return self.boxes[:, 1] - self.boxes[:, 0]

    @property
    def widths(self) -> Numbers:
        """The width of each piece."""
        return self.boxes[:, 3] - self.boxes[:, 2]

    @property
    def sides(self) -> Mask:
        """Whether each piece touches the top, the bottom, the left and the right of the mask: ``[pieces, 4]``."""
        height, width = self.mask.shape
        sides: Mask = self.boxes == (0, height, 0, width)
        return sides

    @property
    def at_side(self) -> Mask:
        """Whether each piece touches a side of the mask."""
        at_side: Mask = np.any(self.sides, axis=1)
        return at_side

    @property
    def across(self) -> Mask:
        """Whether each piece reaches from one side of the mask to the opposite one."""
        top, bottom, left, right = self.sides.T
        across: Mask = (top & bottom) | (left & right)
        return across


def pieces_of(mask: Mask) -> Pieces:
    """Find the connected pieces of a mask that is not empty.

    The mask is seen as runs along its rows. Each run takes the lowest number among itself and the runs that it touches
    in the next row, over and over. Each number is then replaced by the number of the run that it names, so that a few
    rounds suffice.
    """
    stride = mask.shape[1] + 1  # one column more, so that no run goes on in the next row
    edges = np.flatnonzero(np.diff(np.pad(mask, ((0, 0), (0, 1))).ravel().view(np.int8), prepend=np.int8(0)))
    starts, ends = edges[::2], edges[1::2]
    numbers = np.unique(_joined(starts, ends, stride), return_inverse=True)[1]
    count = int(numbers.max()) + 1
    rows, left = np.divmod(starts, stride)
    right = left + ends - starts
    boxes = np.empty((count, 4), np.int_)
    boxes[:, [0, 2]] = stride * mask.shape[0]
    boxes[:, [1, 3]] = 0
    np.minimum.at(boxes[:, 0], numbers, rows)
    np.maximum.at(boxes[:, 1], numbers, rows + 1)
    np.minimum.at(boxes[:, 2], numbers, left)
    np.maximum.at(boxes[:, 3], numbers, right)
    areas = np.bincount(numbers, ends - starts, count).astype(np.int_)
    return Pieces(mask, starts, ends, numbers, areas, boxes)


def _joined(starts: Numbers, ends: Numbers, stride: int) -> Numbers:
    """For each run, the lowest index of the runs that are connected with it."""
    first, last = np.searchsorted(ends, starts + stride), np.searchsorted(starts, ends + stride, "right")
    touching = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), touching)
    lower = np.arange(len(upper)) - np.repeat(np.cumsum(touching) - touching - first, touching)
    numbers = np.arange(len(starts))
    while True:
        before = numbers.copy()
        lowest = np.minimum(numbers[upper], numbers[lower])
        np.minimum.at(numbers, upper, lowest)
        np.minimum.at(numbers, lower, lowest)
        numbers = numbers[numbers]
        if np.array_equal(numbers, before):
            return numbers


def digit_among(pieces: Pieces) -> Mask:
    """Which pieces are the digit: the main piece, and the pieces that are near it or not much smaller.

    We leave out a line from one side of the picture to the opposite side, such as the margin of a notebook. A digit
    that was cut out along its box reaches as far, but then its other pieces touch a side too.
    """
    areas = pieces.areas
    large = areas >= PIECE * areas.max()
    across = pieces.across
    if (large & ~across).any() and not (large & ~across & pieces.at_side).any():
        areas = np.where(across, 0, areas)
        large = areas >= PIECE * areas.max()
    at_side = pieces.at_side
    largest = int(np.argmax(areas * ~at_side))
    if areas[largest] * ~at_side[largest] < INNER * areas.max():
        largest = int(np.argmax(areas))
    digit: Mask = large & (pieces.near(largest) | (~at_side & (areas >= SMALL * areas[largest])))
    return digit


def fat_at_side(pieces: Pieces) -> bool:
    """Whether a piece touches a side of the picture and is too thick for a stroke: a desk, a shadow, a finger."""
    for number in pieces.largest(pieces.at_side):
        top, bottom, left, right = pieces.boxes[number]
        width = max(2, round(FAT * max(bottom - top, right - left)))
        if width <= min(bottom - top, right - left):
            only = pieces.chosen(np.arange(len(pieces.areas)) == number)[top:bottom, left:right]
            if slid(slid(only, width, 0, np.minimum), width, 1, np.minimum).any():
                return True
    return False


def several_digits(pieces: Pieces, digit: Mask) -> int:
    """How many digits there certainly are, side by side or far apart; 1 if the number is uncertain.

    The strokes of one digit can be apart, such as the bar of a five or the halves of a broken zero. So marks count as
    digits only if they have about the same height, and are together wider than any digit or farther apart than their
    length.
    """
    comparable = digit & (pieces.areas >= ALIKE * pieces.areas[digit].max())
    boxes = pieces.boxes[comparable]
    if not 2 <= len(boxes) <= MOST_MARKS:
        return 1
    top, bottom, left, right = boxes[np.argsort(boxes[:, 2])].T
    height, longer = bottom - top, np.maximum(bottom - top, right - left)
    whole = bottom.max() - top.min()
    sideways = left[1:] - np.maximum.accumulate(right)[:-1]
    side_by_side = (
        (sideways > 0).all() and (height >= AS_HIGH * whole).all() and right.max() - left.min() >= WIDER * whole
    )
    vertically = np.maximum(top[1:] - bottom[:-1], top[:-1] - bottom[1:])
    apart = np.maximum(sideways, vertically)
    far = (apart >= longer.max()).all() and longer.min() >= AS_HIGH * longer.max()
    return len(boxes) if side_by_side or far else 1
