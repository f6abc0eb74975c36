"""The kinds of pictures: of digits, each with its look, and of what is no digit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw

from benchmarks.pictures.ink import handwritten, penned, printed
from benchmarks.pictures.scenes import BLACK, Colour, Look, encode, photograph
from models.form import Digit
from training.fonts import HELD_OUT
from training.outliers import LETTERS

SIDE = 280  # of a drawing, before it is brought to a scene's size
Make = Callable[[Digit, int, np.random.Generator], bytes]
"""The file of a picture, from a digit of MNIST and its label."""

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


def _scene(look: Look, pen: float | None = None) -> Make:
    """Pictures of handwriting; by a pen of a width, or with the strokes that MNIST has."""

    def make(digit: Digit, _label: int, rng: np.random.Generator) -> bytes:
        ink = handwritten(digit, SIDE) if pen is None else penned(digit, SIDE, pen)
        return photograph(ink, look, rng)

    return make


def _print(_digit: Digit, label: int, rng: np.random.Generator) -> bytes:
    return photograph(printed(str(label), HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), replace(EVEN, noise=3), rng)


def _transparent(level: int) -> Make:
    def make(digit: Digit, _label: int, _rng: np.random.Generator) -> bytes:
        ink = Image.fromarray((penned(digit, SIDE, 0.08) * 255).astype(np.uint8))
        return encode(Image.merge("LA", (Image.new("L", ink.size, level), ink)))

    return make


def _tight(digit: Digit, _label: int, _rng: np.random.Generator) -> bytes:
    """Cut out along the ink's box, as programs that find digits do."""
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
    "all of it: a photograph": _scene(PHOTOGRAPH),
    "a photograph, fine pen": _scene(PHOTOGRAPH, pen=0.05),
    "printed": _print,
}

Outlier = Callable[[np.random.Generator], bytes]
SCENES = (replace(EVEN, noise=2), replace(PHOTOGRAPH, table=False))


def _blank(rng: np.random.Generator) -> bytes:
    return photograph(np.zeros((SIDE, SIDE)), SCENES[rng.integers(2)], rng)


def _noise(rng: np.random.Generator) -> bytes:
    """Of a grain from a pixel to an eighth of the picture."""
    grain = int(rng.integers(8, 65))
    levels = Image.fromarray(rng.integers(0, 256, (grain, grain), np.uint8))
    return encode(levels.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _letter(rng: np.random.Generator) -> bytes:
    letter = LETTERS[rng.integers(len(LETTERS))]
    return photograph(printed(letter, HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), SCENES[rng.integers(2)], rng)


def _number(rng: np.random.Generator) -> bytes:
    """Of two digits."""
    number = str(rng.integers(10, 100))
    return photograph(printed(number, HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), SCENES[rng.integers(2)], rng)


def _shape(rng: np.random.Generator) -> bytes:
    """A star, a triangle, a square, crossed lines or a scribble; circles and strokes could be digits."""
    canvas = Image.new("L", (SIDE, SIDE))
    draw, middle, reach, kind = ImageDraw.Draw(canvas), SIDE / 2, SIDE * 0.4, rng.integers(5)
    if kind < 3:
        corners = (3, 4, 10)[kind]
        turn = rng.uniform(0, 2 * np.pi)
        reaches = [reach * (0.4 if corners == 10 and corner % 2 else 1) for corner in range(corners)]
        angles = turn + np.arange(corners) * 2 * np.pi / corners
        points = [(middle + r * np.cos(a), middle + r * np.sin(a)) for r, a in zip(reaches, angles, strict=True)]
        draw.polygon(points, fill=255 if rng.random() < 0.5 else 0, outline=255, width=20)
    elif kind == 3:
        for a in rng.uniform(0, np.pi) + np.arange(3) * np.pi / 3:
            x, y = reach * np.cos(a), reach * np.sin(a)
            draw.line((middle - x, middle - y, middle + x, middle + y), fill=255, width=20)
    else:
        draw.line([tuple(point) for point in rng.uniform(20, SIDE - 20, (12, 2))], fill=255, width=12, joint="curve")
    return photograph(np.asarray(canvas, float) / 255, SCENES[rng.integers(2)], rng)


def _photograph(rng: np.random.Generator) -> bytes:
    """A part of the portrait that matplotlib brings."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as portrait:
        side = int(rng.integers(100, min(portrait.size)))
        left, top = (int(rng.integers(whole - side + 1)) for whole in portrait.size)
        return encode(portrait.crop((left, top, left + side, top + side)), 85)


OUTLIERS: dict[str, Outlier] = {
    "blank paper": _blank,
    "noise": _noise,
    "letters": _letter,
    "numbers of two digits": _number,
    "shapes": _shape,
    "parts of a portrait": _photograph,
}
