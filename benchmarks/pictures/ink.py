"""Drawings as ink: the amount of ink in each pixel, 0..1."""

from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from scipy.ndimage import distance_transform_edt

from models.form import Digit
from training.fonts import FONTS

Ink = npt.NDArray[np.float64]  # [height, width], 0..1

CRISP = 3  # how many times steeper the edge of a stroke is than in an enlarged digit
SMALL = 112  # the side, in pixels, at which strokes are thinned


def handwritten(digit: Digit, side: int) -> Ink:
    """A digit of MNIST, enlarged to ``side`` pixels. The strokes keep their width and get crisp edges."""
    large = np.asarray(Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC), float)
    ink: Ink = np.clip((large / 255 - 0.5) * CRISP + 0.5, 0, 1)
    return ink


def penned(digit: Digit, side: int, pen: float) -> Ink:
    """A digit of MNIST, redrawn with a pen along the middle of its strokes.

    Args:
        digit: a digit of MNIST.
        side: the side of the drawing, in pixels.
        pen: the width of the stroke, as a fraction of the side.
    """
    middle = Image.fromarray(thinned(handwritten(digit, SMALL) > 0.5)).resize((side, side), Image.Resampling.NEAREST)
    soft = np.asarray(middle.convert("L").filter(ImageFilter.GaussianBlur(side / SMALL)), float)
    path = soft > 0.3 * soft.max()
    grown = (pen * side - side / SMALL) / 2  # the path itself has a width
    ink: Ink = np.clip(grown - distance_transform_edt(~path) + 1, 0, 1)
    return ink


def thinned(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The middle lines of strokes, one pixel wide (Zhang and Suen 1984, *A fast parallel algorithm for thinning*)."""
    mask = np.pad(mask, 1)
    while True:
        before = mask.sum()
        for first in (True, False):
            p = [np.roll(mask, shift, (0, 1)) for shift in AROUND]
            count = np.sum(p, axis=0)
            turns = sum((~p[i] & p[(i + 1) % 8]).astype(int) for i in range(8))
            north, east, south, west = p[0], p[2], p[4], p[6]
            kept = (north & east & south, east & south & west) if first else (north & east & west, north & south & west)
            mask = mask & ~((count >= 2) & (count <= 6) & (turns == 1) & ~kept[0] & ~kept[1])
        if mask.sum() == before:
            return mask[1:-1, 1:-1]


AROUND = ((1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1))  # clockwise from the north


def printed(text: str, face: str, side: int) -> Ink:
    """One or more characters in a font of matplotlib, centred in a square."""
    canvas = Image.new("L", (side, side))
    ImageDraw.Draw(canvas).text(
        (side / 2, side / 2), text, fill=255, font=_font(face, round(side * 0.9 / len(text))), anchor="mm"
    )
    return np.asarray(canvas, float) / 255


@cache
def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"{face}.ttf", size)
