"""Characters in the fonts that matplotlib ships, in MNIST's form."""

from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.form import Digit, to_form

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique", "DejaVuSansMono"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmti10"),
)
"""The fonts that a fit is shown."""
HELD_OUT = ("cmss10", "cmtt10", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic")
"""Fonts of three further families, with serifs and without, which no fit is shown: a benchmark prints in them."""
SIZE = 96
"""Pixels of the drawing for the height of a line of text."""


def printed(text: str, face: str, bold: int) -> Digit:
    """Draw a text in MNIST's form.

    Args:
        text: of one character as a rule, and not blank.
        face: the name of a file of `FONTS`, without its suffix.
        bold: pixels of the drawing by which the strokes are broadened on each side.
    """
    canvas = Image.new("L", (2 * SIZE * len(text), 2 * SIZE))
    middle = (SIZE * len(text), SIZE)
    ImageDraw.Draw(canvas).text(middle, text, 255, font(face), anchor="mm", stroke_width=bold)
    return to_form(np.asarray(canvas.crop(canvas.getbbox()), np.float32))


@cache
def font(face: str) -> ImageFont.FreeTypeFont:
    """A font by the name of its file."""
    return ImageFont.truetype(FONTS / f"{face}.ttf", SIZE)
