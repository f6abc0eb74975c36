"""Pictures that show no digit, in MNIST's form, for a fit that is to be unsure of them.

Made by a program: characters of fonts, mirrored digits, several digits in one picture, curves, polygons,
and textures. What could be taken for a digit is left out as far as that is known beforehand.
"""

import itertools
import string
from collections.abc import Callable
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter
from torch import Tensor

from models.form import SIDE, Digit, to_form
from training.data import Split

LETTERS = "".join(sorted(set(string.ascii_letters) - set("BDGIJOQSZbgijloqsz")))  # less those that look like digits
SYMBOLS = "ΓΔΛΞΠΣΦΨΩλμξπψωЖДЦШЩЮЯ&#@%+=÷<>→↔⇐∀∃∇∞∑√≠≈⊕⊗"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
FACES = (
    *("cmb10", "cmr10", "cmss10", "cmti10", "cmtt10"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralBolIta", "STIXGeneralItalic"),
)
CHARACTERS = [*itertools.product(FACES, LETTERS), *itertools.product(["STIXGeneral"], SYMBOLS)]
MIRRORED = (3, 4, 6, 7, 9)  # 0, 1 and 8 would still be digits, and 2 and 5 each other
CANVAS = 96  # the side of a drawing
BROADEST = 8  # of its strokes, half the width that is added to those of a font

Make = Callable[[Split, np.random.Generator], Digit]


def outliers(digits: Split, rows: int, seed: int) -> Tensor:
    """Pictures of every kind in turn.

    Args:
        digits: what some of them are made of.
        rows: how many.
        seed: of everything random; the same seed makes the same pictures.

    Returns:
        uint8 ``[rows, 28, 28]``.

    Raises:
        ValueError: none of the digits is one of those that are mirrored.
    """
    if not np.isin(digits.labels.numpy(), MIRRORED).any():
        raise ValueError(f"outliers: made of the digits {', '.join(map(str, MIRRORED))} among others; there are none")
    rng = np.random.default_rng(seed)
    made = [KINDS[row % len(KINDS)](digits, rng) for row in range(rows)]
    return torch.from_numpy(np.stack(made))


def _character(_digits: Split, rng: np.random.Generator) -> Digit:
    """A letter or symbol of a font, as bold as chance has it."""
    face, character = CHARACTERS[rng.integers(len(CHARACTERS))]
    canvas, middle = Image.new("L", (2 * CANVAS, 2 * CANVAS)), (CANVAS, CANVAS)
    bold = int(rng.integers(BROADEST // 2))
    ImageDraw.Draw(canvas).text(middle, character, 255, _font(face), anchor="mm", stroke_width=bold)
    return _formed(canvas)


def _mirrored(digits: Split, rng: np.random.Generator) -> Digit:
    """A digit seen in a mirror, of those that look like none there."""
    rows = np.flatnonzero(np.isin(digits.labels.numpy(), MIRRORED))
    return digits.images[rng.choice(rows)].numpy()[:, ::-1]


def _several(digits: Split, rng: np.random.Generator) -> Digit:
    """Two or three digits side by side."""
    shown = digits.images[rng.integers(len(digits.labels), size=rng.integers(2, 4))].numpy()
    cropped = [picture[:, picture.any(axis=0)] for picture in shown]
    return _formed(Image.fromarray(np.concatenate(cropped, axis=1)))


def _curve(_digits: Split, rng: np.random.Generator) -> Digit:
    """A scribble: a smooth curve through points here and there, more of them than a digit has turns."""
    points = rng.uniform(0, CANVAS, (rng.integers(9, 17), 2))
    path = CubicSpline(np.arange(len(points)), points)(np.linspace(0, len(points) - 1, 200))
    canvas = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    width = int(rng.integers(3, 2 * BROADEST))
    ImageDraw.Draw(canvas).line([tuple(point) for point in path + CANVAS / 2], 255, width, joint="curve")
    return _formed(canvas)


def _polygon(_digits: Split, rng: np.random.Generator) -> Digit:
    """Filled, or the outline of a triangle or a quadrangle; one of more corners would look like a 0."""
    canvas = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    filled = bool(rng.integers(2))
    width = int(rng.integers(3, 2 * BROADEST))
    ImageDraw.Draw(canvas).polygon(_corners(rng, 8 if filled else 4), 255 if filled else 0, 255, width)
    return _formed(canvas)


def _texture(_digits: Split, rng: np.random.Generator) -> Digit:
    """Smooth noise, over the whole picture or in a polygon; now and then none but a speck of it is left."""
    canvas = Image.new("L", (2 * CANVAS, 2 * CANVAS))
    ImageDraw.Draw(canvas).polygon(_corners(rng, 8), 255)
    whole = bool(rng.integers(2))
    shape = (SIDE, SIDE) if whole else canvas.size
    noise = gaussian_filter(rng.standard_normal(shape), rng.uniform(0.3, 4) * shape[0] / SIDE)
    noise = noise / np.abs(noise).max() + rng.uniform(-0.9, 0.9)
    levels = (255 * np.clip(noise * rng.uniform(1, 5), 0, 1)).astype(np.uint8)
    return levels if whole else _formed(Image.composite(Image.fromarray(levels), Image.new("L", canvas.size), canvas))


KINDS: tuple[Make, ...] = (_character, _mirrored, _several, _curve, _polygon, _texture)


def _corners(rng: np.random.Generator, most: int) -> list[tuple[float, float]]:
    """Of a polygon around the middle that is not slender."""
    corners = int(rng.integers(3, most + 1))
    angles = 2 * np.pi * (rng.random() + (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners)
    reach = CANVAS / 2 * rng.uniform(0.5, 1, corners)
    return list(zip(CANVAS + reach * np.cos(angles), CANVAS + reach * np.sin(angles), strict=True))


def _formed(canvas: Image.Image) -> Digit:
    """A drawing in MNIST's form, or blank as it is."""
    box = canvas.getbbox()
    if box is None:
        return np.zeros((SIDE, SIDE), np.uint8)
    return to_form(np.asarray(canvas.crop(box), np.float32))


@cache
def _font(face: str) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONTS / f"{face}.ttf", CANVAS)
