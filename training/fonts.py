"""Characters in the fonts that matplotlib contains, in MNIST's form."""

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
"""The fonts that a fit uses."""
HELD_OUT = ("cmss10", "cmtt10", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic")
"""Fonts of three other families. Fits do not use these fonts, because a benchmark draws its test characters in them."""
SIZE = 96
"""The height of a line of text, in pixels of the drawing."""


def printed(text: str, face: str, bold: int) -> Digit:
    """Draw a text in MNIST's form.

    Args:
        text: the text, usually one character; not blank.
        face: the name of a file in `FONTS`, without its suffix.
        bold: how many pixels to add on each side of a stroke, before the drawing is scaled to 28x28 pixels.
    """
    canvas = Image.new("L", (2 * SIZE * len(text), 2 * SIZE))
    middle = (SIZE * len(text), SIZE)
    ImageDraw.Draw(canvas).text(middle, text, 255, font(face), anchor="mm", stroke_width=bold)
    return to_form(np.asarray(canvas.crop(canvas.getbbox()), np.float32))


@cache
def font(face: str) -> ImageFont.FreeTypeFont:
    """A font by the name of its file, without the suffix."""
    return ImageFont.truetype(FONTS / f"{face}.ttf", SIZE)
