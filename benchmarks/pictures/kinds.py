"""The kinds of pictures of digits."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from PIL import Image

from benchmarks.pictures import small
from benchmarks.pictures.ink import handwritten, penned, printed
from benchmarks.pictures.scenes import BLACK, Colour, Lines, Look, encode, photograph
from benchmarks.pictures.styles import STYLES, styled
from models.form import Digit
from training.fonts import HELD_OUT

SIDE = 280  # pixels, of a drawing before it is scaled to its size in a scene
Make = Callable[[Digit, int, np.random.Generator], bytes]
"""Makes the file of a picture from a digit of MNIST, its label and a source of random numbers."""

BLUE: Colour = (30, 60, 200)
PENS: tuple[Colour, ...] = ((30, 50, 160), (190, 30, 40), (20, 120, 60), (110, 40, 140))
LIGHT_PENS: tuple[Colour, ...] = ((250, 225, 60), (250, 170, 60), (245, 160, 190), (130, 215, 240), (150, 220, 120))
NOTES: tuple[Colour, ...] = ((250, 225, 60), (250, 160, 60), (250, 150, 180), (170, 230, 120), (200, 40, 50))
BOARDS: tuple[Colour, ...] = ((36, 60, 48), (38, 40, 44))
CHALKS: tuple[Colour, ...] = ((225, 225, 220), (235, 220, 140))
EVEN = Look()
PHOTOGRAPH = Look(
    height=(0.25, 0.6),
    angle=10,
    inks=(BLACK, *PENS),
    opaque=0.9,
    shade=0.4,
    shadow=0.3,
    table=True,
    noise=5,
    quality=70,
)
FAINT = replace(EVEN, inks=((120, 120, 124),), opaque=0.2, noise=3, quality=80)
CLOSE = replace(PHOTOGRAPH, size=(480, 640), height=(0.4, 0.6), table=False)
DARK = (0.25, 0.25, 0.27)  # the share of the light that a grid line as dark as the pen leaves, in each colour


def _scene(look: Look, pen: float | None = None) -> Make:
    """Pictures of handwriting, with a pen of a given width or with the strokes of MNIST."""

    def make(digit: Digit, _label: int, rng: np.random.Generator) -> bytes:
        ink = handwritten(digit, SIDE) if pen is None else penned(digit, SIDE, pen)
        return photograph(ink, look, rng)

    return make


def _print(look: Look) -> Make:
    def make(_digit: Digit, label: int, rng: np.random.Generator) -> bytes:
        return photograph(printed(str(label), HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), look, rng)

    return make


def _style(look: Look) -> Make:
    """Pictures of the same digit in a style that is rare in MNIST."""

    def make(_digit: Digit, label: int, rng: np.random.Generator) -> bytes:
        names = [name for name, (shown, _) in STYLES.items() if shown == label]
        return photograph(styled(names[rng.integers(len(names))], SIDE, rng), look, rng)

    return make


def _transparent(level: int) -> Make:
    def make(digit: Digit, _label: int, _rng: np.random.Generator) -> bytes:
        ink = Image.fromarray((penned(digit, SIDE, 0.08) * 255).astype(np.uint8))
        return encode(Image.merge("LA", (Image.new("L", ink.size, level), ink)))

    return make


def _tight(digit: Digit, _label: int, _rng: np.random.Generator) -> bytes:
    """Crop the picture to the bounding box of the ink, like programs that detect digits."""
    ink = handwritten(digit, SIDE)
    box = Image.fromarray((ink > 0.5).astype(np.uint8)).getbbox()
    return encode(Image.fromarray((240 - 200 * ink).astype(np.uint8)).crop(box))


DIGITS: dict[str, Make] = {
    "even paper": _scene(EVEN),
    "small in a large picture": _scene(replace(EVEN, height=(0.1, 0.15))),
    "turned by up to 15 degrees": _scene(replace(EVEN, angle=15)),
    "thin strokes": _scene(EVEN, pen=0.025),
    "thick strokes": _scene(EVEN, pen=0.18),
    "coloured pens": _scene(replace(EVEN, inks=PENS, quality=80)),
    "light pens": _scene(replace(EVEN, inks=LIGHT_PENS, noise=2, quality=80)),
    "coloured paper": _scene(replace(EVEN, papers=NOTES, inks=(BLACK, BLUE), noise=2, quality=80), pen=0.04),
    "chalk on a board": _scene(replace(EVEN, papers=BOARDS, inks=CHALKS, opaque=0.8, shade=0.3, noise=4)),
    "uneven light": _scene(replace(EVEN, shade=0.75, noise=2)),
    "a shadow's edge": _scene(replace(EVEN, shadow=0.5, noise=2)),
    "a dark table around the paper": _scene(replace(EVEN, table=True, noise=2)),
    "ruled paper": _scene(replace(EVEN, inks=(BLACK, *PENS), grid=1, noise=2)),
    "checked paper": _scene(replace(EVEN, inks=(BLACK, *PENS), grid=2, noise=2)),
    "noise, JPEG of quality 15": _scene(replace(EVEN, noise=20, quality=15)),
    "dark ink on transparent": _transparent(0),
    "light ink on transparent": _transparent(255),
    "cut out along its box": _tight,
    "photograph with all effects": _scene(PHOTOGRAPH),
    "a photograph, fine pen": _scene(PHOTOGRAPH, pen=0.05),
    "printed": _print(replace(EVEN, noise=3)),
    "printed, by phone": _print(replace(PHOTOGRAPH, height=(0.05, 0.3), soft=(0.02, 0.05))),
    "other styles": _style(EVEN),
    "other styles, photograph": _style(PHOTOGRAPH),
    "5 to 8 % of the height": _scene(replace(PHOTOGRAPH, height=(0.05, 0.08), table=False, shadow=0), pen=0.08),
    "soft focus": _scene(replace(EVEN, soft=(0.03, 0.08), noise=3)),
    "soft focus, photograph": _scene(replace(PHOTOGRAPH, soft=(0.02, 0.05))),
    "soft and faint": _scene(replace(FAINT, soft=(0.02, 0.05))),
    "faint pencil": _scene(FAINT, pen=0.05),
    "touches a side": _scene(replace(EVEN, edges=1, noise=2), pen=0.07),
    "touches two sides": _scene(replace(EVEN, edges=2, noise=2), pen=0.07),
    "in a frame": _scene(replace(EVEN, lines=Lines.frame, noise=2)),
    "in a printed cell": _scene(replace(EVEN, lines=Lines.cell, noise=2), pen=0.07),
    "touches its cell's line": _scene(replace(EVEN, lines=Lines.touched, noise=2), pen=0.07),
    "grid as dark as the pen": _scene(replace(EVEN, grid=2, rule=DARK, height=(0.2, 0.5), noise=2), pen=0.07),
    "photograph as 28x28": _scene(replace(CLOSE, shown=28), pen=0.07),
    "photograph as 29x29": _scene(replace(CLOSE, shown=29), pen=0.07),
    "photograph as 56x56": _scene(replace(CLOSE, shown=56), pen=0.07),
    "28x28 of a paint program": small.painted,
    "28x28, moved": small.changed(small.moved),
    "28x28, defocused": small.changed(small.defocused),
    "28x28, shaken": small.changed(small.shaken),
    "28x28, normal noise": small.changed(small.noisy),
    "28x28, salt and pepper": small.changed(small.peppered),
    "28x28, JPEG of quality 15": small.changed(small.unchanged, quality=15),
    "28x28, bright": small.changed(small.bright),
    "28x28, faint": small.changed(small.faint),
    "28x28, fog": small.changed(small.fogged),
}
