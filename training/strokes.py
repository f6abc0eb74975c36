"""Characters as strokes of a pen: their notation as text, and their drawing.

A glyph is a list of strokes. A stroke is a line of text with the points "x,y" that the pen passes, on a square of 100
by 100 with the origin at the top left. Between points the pen moves along a smooth curve. " / " after a point marks a
corner, at which one curve ends and the next begins. For example, "0,0 / 100,0 / 40,100" is a seven of two straight
lines.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from models.form import BOX, Digit, Ink, to_form

Glyph = tuple[str, ...]
Points = npt.NDArray[np.float64]  # [points, 2], x and y

SCALE = 6
"""The number of pixels of the drawing per pixel of MNIST's form."""
MARGIN = 8
"""The margin around the square, in pixels of MNIST's form. Jitter and slant may move strokes into the margin."""
SIDE = (BOX + 2 * MARGIN) * SCALE
"""The side of the drawing, in pixels."""
DENSITY = 40
"""The number of points per straight arc at which the pen draws a disc; a curved arc has twice as many."""


class Hand(NamedTuple):
    """The handwriting with which a glyph is drawn.

    Attributes:
        pen: the width of the pen in pixels of MNIST's form.
        jitter: the standard deviation of the random shift of each point, as a share of the square's side.
        slant: the tangent of the angle by which the glyph leans to the right.
        turn: the angle, in radians, by which the glyph is rotated.
        aspect: the factor by which the ratio of width to height changes.
        pressure: how much the width of a stroke varies along the stroke, as a share of the pen's width.
        dry: how uneven the ink is, from 0 to 1.
    """

    pen: float
    jitter: float
    slant: float
    turn: float
    aspect: float
    pressure: float
    dry: float


def random_hand(rng: np.random.Generator) -> Hand:
    """Draw a random handwriting: a pen of 1 to 6 pixels, usually thin, and a slant that is usually small."""
    return Hand(
        pen=float(1 + 5 * rng.beta(1.2, 2.8)),
        jitter=float(rng.uniform(0.005, 0.05)),
        slant=float(rng.normal(0.1, 0.2)),
        turn=float(rng.normal(0, 0.07)),
        aspect=float(np.exp(rng.normal(0, 0.22))),
        pressure=float(rng.beta(1, 3) * 0.5),
        dry=float(max(0, rng.uniform(-1, 0.7))),
    )


def draw(glyph: Glyph, hand: Hand, rng: np.random.Generator) -> Digit:
    """Draw a glyph in MNIST's form.

    Args:
        glyph: the glyph.
        hand: the handwriting.
        rng: draws the jitter, the variation of the width and the unevenness of the ink.

    Returns:
        The picture, uint8 ``[28, 28]``.
    """
    canvas = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(canvas)
    for path in _moved(glyph, hand, rng):
        _ink(pen, path, hand, rng)
    ink: Ink = np.array(canvas.crop(canvas.getbbox()), np.float32)
    if hand.dry:
        grain = Image.fromarray(rng.random((SIDE // 4, SIDE // 4)).astype(np.float32)).resize(ink.shape[::-1])
        ink *= 1 - np.float32(hand.dry) * np.asarray(grain)
    return to_form(ink)


def _ink(pen: ImageDraw.ImageDraw, path: Points, hand: Hand, rng: np.random.Generator) -> None:
    """Draw a disc at each point of a path. The discs are so close together that they form a line."""
    phase, waves = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 2)
    wave = np.sin(phase + waves * 2 * np.pi * np.linspace(0, 1, len(path)))
    radii = hand.pen * SCALE / 2 * (1 + hand.pressure * wave)
    for (x, y), radius in zip(path.tolist(), radii.tolist(), strict=True):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), 255)


def _moved(glyph: Glyph, hand: Hand, rng: np.random.Generator) -> list[Points]:
    """The paths of a glyph's strokes in pixels of the drawing."""
    strokes = [parse(stroke) for stroke in glyph]
    every = np.concatenate([arc for arcs in strokes for arc in arcs])
    distinct, indices = np.unique(every, axis=0, return_inverse=True)  # a point of two strokes moves only once
    moved = (distinct + rng.normal(0, 100 * hand.jitter, distinct.shape))[indices.reshape(-1)]
    cos, sin = np.cos(hand.turn), np.sin(hand.turn)
    turn = np.array([[cos, -sin], [sin, cos]])
    lean = np.array([[1, -hand.slant], [0, 1]])
    stretch = np.diag([np.sqrt(hand.aspect), 1 / np.sqrt(hand.aspect)])
    scale = (BOX - hand.pen) * SCALE / 100  # the strokes with the pen's width fit into the box
    moved = SIDE / 2 + scale * (moved - 50) @ (turn @ lean @ stretch).T
    paths, first = [], 0
    for arcs in strokes:
        curves = []
        for arc in arcs:
            curves.append(_curve(moved[first : first + len(arc)]))
            first += len(arc)
        paths.append(np.concatenate(curves))
    return paths


def _curve(points: Points) -> Points:
    """Many points on a smooth curve through the given points."""
    if len(points) == 2:
        return np.linspace(points[0], points[1], DENSITY)
    from scipy.interpolate import CubicSpline  # noqa: PLC0415 (SciPy takes a second to import)

    lengths = np.sqrt(np.linalg.norm(np.diff(points, axis=0), axis=1)) + 1e-6
    along = np.concatenate([[0], np.cumsum(lengths)])  # centripetal, which avoids loops between uneven points
    curve: Points = CubicSpline(along, points, bc_type="natural")(np.linspace(0, along[-1], 2 * DENSITY))
    return curve


@cache
def parse(stroke: str) -> tuple[Points, ...]:
    """Parse a stroke into arcs. Each arc is the array of points ``[points, 2]`` of a smooth curve.

    Neighbouring arcs share a point.

    Raises:
        ValueError: the stroke has fewer than two points, or a part of it is not a point.
    """
    parts = [[point.split(",") for point in part.split()] for part in stroke.split("/")]
    points = [point for part in parts for point in part]
    if len(points) < 2 or not all(parts) or any(len(point) != 2 for point in points):
        raise ValueError(f"stroke {stroke!r}: expected at least two points x,y, with corners / between them")
    arcs = [parts[0]] if len(parts[0]) > 1 else []  # a single first point only starts the first straight line
    arcs += [[before[-1], *part] for before, part in pairwise(parts)]
    return tuple(np.array(arc, np.float64) for arc in arcs)
