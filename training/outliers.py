"""Outliers: generated pictures without a digit, for which a fit learns to be unsure.

The kinds are printed and written characters, mirrored digits, several digits in one picture, curves, polygons and
textures. All have MNIST's form, except that some textures fill the whole picture. Most characters that someone could
read as a digit are left out. Blur, noise and fog are not kinds of outliers, because a fit applies them to digits and
outliers alike.
"""

import itertools
import string
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from models.form import SIDE, Digit, to_form
from training.data import Split
from training.fonts import FACES, printed
from training.glyphs import LETTERS as WRITTEN_LETTERS
from training.glyphs import OTHERS
from training.strokes import draw, random_hand

LETTERS = "".join(sorted(set(string.ascii_letters) - set("BDGIJOQSZbgijloqsz")))  # without those that look like digits
SYMBOLS = "ΓΔΛΞΠΨΩλμπωЖДЦШЩЯ#%+=÷<>→↔⇐∀∇√≠⊗"  # without those that look like a 2, 3, 8 or 10
OTHER_SCRIPTS = "ԱԴԸԺԽՃՄՓაგდთჟტფღאהחמעצשתЂЉЊЋ"  # Armenian, Georgian, Hebrew, Serbian; none that looks like a digit
CHARACTERS = [
    *itertools.product(FACES, LETTERS),
    *itertools.product(["STIXGeneral"], SYMBOLS),
    *itertools.product(["DejaVuSans"], OTHER_SCRIPTS),
]
GLYPHS = (*WRITTEN_LETTERS, *WRITTEN_LETTERS, *OTHERS)
MIRRORED = (3, 4, 6, 7, 9)  # a mirrored 0, 1 or 8 is still a digit, and a mirrored 2 looks like a 5
DRAWING = 96  # the side of the used part of the canvas, in pixels
BOLD = 4  # the strokes of a font become thicker by less than this many pixels
WIDTHS = (3, 16)  # the range of the widths of other strokes, in pixels, without its upper end


class Digits(NamedTuple):
    """The digits that some outliers are made of: all images ``[rows, 28, 28]``, and those that may be mirrored."""

    images: npt.NDArray[np.uint8]
    mirrored: npt.NDArray[np.uint8]


Make = Callable[[Digits, np.random.Generator], Digit]


def make_outliers(digits: Split, rows: int, seed: int) -> Tensor:
    """Make pictures of every kind in turn.

    Args:
        digits: the digits that some outliers are made of.
        rows: the number of pictures, at least 1.
        seed: the seed of all random numbers. The same seed makes the same pictures with the same versions of Pillow,
            matplotlib (which contains the fonts), SciPy and NumPy.

    Returns:
        uint8 ``[rows, 28, 28]``.

    Raises:
        ValueError: the split has none of the digits that are mirrored.
    """
    images, labels = (column.numpy() for column in digits)
    sources = Digits(images, images[np.isin(labels, MIRRORED)])
    if len(sources.mirrored) == 0:
        mirrored = ", ".join(map(str, MIRRORED))
        raise ValueError(
            f"outliers: some are mirrored digits {mirrored}, but the split of {len(labels)} images has none of them"
        )
    rng = np.random.default_rng(seed)
    made = [KINDS[row % len(KINDS)](sources, rng) for row in range(rows)]
    return torch.from_numpy(np.stack(made))


def _character(_digits: Digits, rng: np.random.Generator) -> Digit:
    """A letter or symbol in a random font, with a random thickness."""
    face, character = CHARACTERS[rng.integers(len(CHARACTERS))]
    return printed(character, face, int(rng.integers(BOLD)))


def _written(_digits: Digits, rng: np.random.Generator) -> Digit:
    """A written letter, character of another script, or sign."""
    return draw(GLYPHS[rng.integers(len(GLYPHS))], random_hand(rng), rng)


def _strokes(_digits: Digits, rng: np.random.Generator) -> Digit:
    """A few straight strokes between points of a grid, which look like a character of an unknown script."""
    ends = 50 * rng.integers(0, 3, (rng.integers(4, 7), 2, 2))
    lines = tuple(f"{x},{y} / {u},{v}" for (x, y), (u, v) in ends.tolist() if (x, y) != (u, v))
    return draw(lines or ("0,0 / 100,100", "0,100 / 100,0"), random_hand(rng), rng)


def _mirrored(digits: Digits, rng: np.random.Generator) -> Digit:
    """A mirrored digit, of those that do not look like a digit in a mirror."""
    drawn: Digit = digits.mirrored[rng.choice(len(digits.mirrored))]
    return drawn[:, ::-1]


def _several(digits: Digits, rng: np.random.Generator) -> Digit:
    """Two or three digits side by side."""
    shown = digits.images[rng.integers(len(digits.images), size=rng.integers(2, 4))]
    cropped = [picture[:, picture.any(axis=0)] for picture in shown]
    return _formed(Image.fromarray(np.concatenate(cropped, axis=1)))


def _curve(_digits: Digits, rng: np.random.Generator) -> Digit:
    """A scribble: a smooth curve through random points. It has more turns than a digit."""
    from scipy.interpolate import CubicSpline  # noqa: PLC0415 (SciPy takes a second to import)

    points = rng.uniform(0, DRAWING, (rng.integers(11, 18), 2))
    path = CubicSpline(np.arange(len(points)), points)(np.linspace(0, len(points) - 1, 200))
    canvas = _canvas()
    width = int(rng.integers(*WIDTHS))
    ImageDraw.Draw(canvas).line([tuple(point) for point in path + DRAWING / 2], 255, width, joint="curve")
    return _formed(canvas)


def _polygon(_digits: Digits, rng: np.random.Generator) -> Digit:
    """A filled polygon, or the outline of a triangle or a quadrangle. An outline with more corners looks like a 0."""
    canvas = _canvas()
    filled = bool(rng.integers(2))
    width = int(rng.integers(*WIDTHS))
    ImageDraw.Draw(canvas).polygon(_corners(rng, 8 if filled else 4), 255 if filled else 0, 255, width)
    return _formed(canvas)


def _texture(_digits: Digits, rng: np.random.Generator) -> Digit:
    """Smooth noise over the whole picture or inside a polygon. At least a twentieth of the area is ink."""
    from scipy.ndimage import gaussian_filter  # noqa: PLC0415 (SciPy takes a second to import)

    canvas = _canvas()
    ImageDraw.Draw(canvas).polygon(_corners(rng, 8), 255)
    whole = bool(rng.integers(2))
    shape = (SIDE, SIDE) if whole else canvas.size
    noise = gaussian_filter(rng.standard_normal(shape), rng.uniform(0.3, 4) * shape[0] / SIDE)
    inside = noise if whole else noise[np.asarray(canvas) > 0]
    paper = np.quantile(inside, rng.uniform(0.05, 0.95))
    levels = (255 * np.clip((noise - paper) / (inside.max() - paper) * rng.uniform(1, 5), 0, 1)).astype(np.uint8)
    return levels if whole else _formed(Image.composite(Image.fromarray(levels), _canvas(), canvas))


KINDS: tuple[Make, ...] = (_character, _written, _mirrored, _written, _several, _strokes, _curve, _polygon, _texture)


def _canvas() -> Image.Image:
    return Image.new("L", (2 * DRAWING, 2 * DRAWING))


def _corners(rng: np.random.Generator, most: int) -> list[tuple[float, float]]:
    """The corners of a random polygon around the middle that is not thin."""
    corners = int(rng.integers(3, most + 1))
    angles = 2 * np.pi * (rng.random() + (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners)
    reach = DRAWING / 2 * rng.uniform(0.5, 1, corners)
    return list(zip(DRAWING + reach * np.cos(angles), DRAWING + reach * np.sin(angles), strict=True))


def _formed(canvas: Image.Image) -> Digit:
    """Convert a drawing to MNIST's form; a blank drawing stays blank."""
    box = canvas.getbbox()
    if box is None:
        return np.zeros((SIDE, SIDE), np.uint8)
    return to_form(np.asarray(canvas.crop(box), np.float32))
