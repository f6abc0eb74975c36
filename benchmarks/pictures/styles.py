"""Styles of handwritten digits that are rare in MNIST, drawn with strokes by a program."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from benchmarks.pictures.ink import Ink

Points = list[tuple[float, float]]  # the points (x, y) of a line in a box of 1 x 1; y points downwards

SLANT = 0.25  # the largest difference in x between the top and the bottom
JITTER = 0.02  # the standard deviation of the displacement of each point
PENS = (0.03, 0.12)  # the smallest and the largest width of the pen, as a fraction of the drawing's side
FILLED = 0.7  # the side of the box, as a fraction of the drawing's side


def _arc(x: float, y: float, rx: float, ry: float, start: float, end: float) -> Points:
    """An arc of an ellipse around (x, y) between two angles in degrees: 0 points to the right, 90 down."""
    angles = np.radians(np.linspace(start, end, 24))
    return [(x + rx * float(np.cos(angle)), y + ry * float(np.sin(angle))) for angle in angles]


STYLES: dict[str, tuple[int, list[Points]]] = {
    "one with a flag": (1, [[(0.15, 0.35), (0.55, 0), (0.55, 1)]]),
    "one with a long flag": (1, [[(0.1, 0.55), (0.6, 0), (0.6, 1)]]),
    "one with a flag and a foot": (1, [[(0.2, 0.28), (0.5, 0), (0.5, 1)], [(0.15, 1), (0.85, 1)]]),
    "one with a foot": (1, [[(0.5, 0), (0.5, 1)], [(0.2, 1), (0.8, 1)]]),
    "crossed seven": (7, [[(0.05, 0), (0.95, 0), (0.4, 1)], [(0.25, 0.5), (0.9, 0.5)]]),
    "seven with a hook": (7, [[(0.05, 0.2), (0.05, 0), (0.95, 0), (0.4, 1)]]),
    "closed four": (4, [[(0.6, 1), (0.6, 0), (0, 0.65), (0.9, 0.65)]]),
    "open four": (4, [[(0.1, 0), (0.05, 0.55), (0.9, 0.55)], [(0.7, 0.15), (0.7, 1)]]),
    "looped two": (
        2,
        [[*_arc(0.45, 0.25, 0.4, 0.25, 190, 380), (0.25, 0.9), *_arc(0.18, 0.88, 0.12, 0.1, 0, 330), (0.95, 0.98)]],
    ),
    "angular two": (2, [[*_arc(0.48, 0.28, 0.42, 0.28, 180, 380), (0.05, 1), (0.95, 1)]]),
    "three with a flat top": (3, [[(0.1, 0), (0.85, 0), (0.4, 0.4), *_arc(0.4, 0.7, 0.5, 0.3, -90, 140)]]),
    "five with its bar apart": (
        5,
        [[(0.25, 0.07), (0.15, 0.45), *_arc(0.4, 0.68, 0.48, 0.3, -120, 130)], [(0.38, 0), (0.95, 0)]],
    ),
    "straight nine": (9, [[*_arc(0.45, 0.27, 0.4, 0.27, 0, 360), (0.85, 0.3), (0.8, 1)]]),
    "hooked nine": (
        9,
        [[*_arc(0.45, 0.27, 0.4, 0.27, 0, 360), (0.85, 0.3), *_arc(0.45, 0.75, 0.4, 0.25, 0, 150)]],
    ),
    "open six": (6, [[(0.7, 0), (0.2, 0.5), *_arc(0.48, 0.7, 0.4, 0.3, 180, 500)]]),
    "open zero": (0, [_arc(0.5, 0.5, 0.4, 0.5, -60, 270)]),
    "eight of two rings": (8, [_arc(0.5, 0.25, 0.33, 0.25, 0, 360), _arc(0.5, 0.74, 0.42, 0.26, 0, 360)]),
}


def styled(name: str, side: int, rng: np.random.Generator) -> Ink:
    """Draw a digit in a style, with a random slant, pen and unsteadiness."""
    canvas = Image.new("L", (side, side))
    draw, wide = ImageDraw.Draw(canvas), side * rng.uniform(*PENS)
    slant, narrow = rng.uniform(0, SLANT), rng.uniform(0.45, 0.75)
    for line in STYLES[name][1]:
        points = np.array(line)
        knots = rng.normal(0, JITTER, (4, 2))
        shift = np.stack([np.interp(np.linspace(0, 3, len(points)), range(4), knots[:, axis]) for axis in (0, 1)], 1)
        points = (points - 0.5 + shift) * (narrow, 1) + np.stack([slant * (0.5 - points[:, 1]), 0 * points[:, 1]], 1)
        _stroke(draw, side / 2 + FILLED * side * points, wide)
    return np.asarray(canvas, float) / 255


def _stroke(draw: ImageDraw.ImageDraw, points: npt.NDArray[np.float64], wide: float) -> None:
    """Draw a line with a round pen."""
    corners = [(float(x), float(y)) for x, y in points]
    draw.line(corners, fill=255, width=round(wide), joint="curve")
    for x, y in corners:
        draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), fill=255)
