"""The kinds of pictures without a digit."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from benchmarks.pictures.ink import printed
from benchmarks.pictures.kinds import EVEN, PHOTOGRAPH, SIDE
from benchmarks.pictures.scenes import encode, photograph
from training.fonts import HELD_OUT
from training.outliers import LETTERS

LOOK_ALIKES = "BDGIJOQSZbgijloqsz"  # letters that look like digits; the outliers of a fit contain none of them

Outlier = Callable[[np.random.Generator], bytes]
SCENES = (replace(EVEN, noise=2), replace(PHOTOGRAPH, table=False))


def _blank(rng: np.random.Generator) -> bytes:
    return photograph(np.zeros((SIDE, SIDE)), SCENES[rng.integers(2)], rng)


def _texture(rng: np.random.Generator) -> bytes:
    """Rough paper under uneven light; the grain has a sigma of up to 4 pixels, and the picture 28x28 to 640x480."""
    height, width = [(28, 28), (64, 64), (200, 200), (480, 640)][rng.integers(4)]
    grain = gaussian_filter(rng.normal(size=(height, width)), rng.uniform(0, min(4, height / 40)))
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = 1 - rng.uniform(0, 0.4) * (x**2 + y**2) / 2 - rng.uniform(-0.2, 0.2) * x
    levels = (rng.uniform(140, 235) + rng.uniform(1, 6) * grain / grain.std()) * light
    return encode(Image.fromarray(np.clip(levels, 0, 255).round().astype(np.uint8)), 80 if rng.random() < 0.5 else None)


def _dust(rng: np.random.Generator) -> bytes:
    """One to three specks on paper with a little noise."""
    levels = 225 + rng.normal(0, 1.5, (480, 640))
    for _ in range(rng.integers(1, 4)):
        top, left, side = rng.integers(0, 470), rng.integers(0, 630), rng.integers(1, 7)
        levels[top : top + side, left : left + side] -= rng.uniform(40, 180)
    return encode(Image.fromarray(np.clip(levels, 0, 255).round().astype(np.uint8)))


def _noise(rng: np.random.Generator) -> bytes:
    """Smooth noise, with 8 to 64 random levels along each side."""
    grain = int(rng.integers(8, 65))
    levels = Image.fromarray(rng.integers(0, 256, (grain, grain), np.uint8))
    return encode(levels.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _letter(letters: str) -> Outlier:
    def make(rng: np.random.Generator) -> bytes:
        letter = letters[rng.integers(len(letters))]
        return photograph(printed(letter, HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), SCENES[rng.integers(2)], rng)

    return make


def _number(rng: np.random.Generator) -> bytes:
    """A printed number of two digits."""
    number = str(rng.integers(10, 100))
    return photograph(printed(number, HELD_OUT[rng.integers(len(HELD_OUT))], SIDE), SCENES[rng.integers(2)], rng)


def _shape(rng: np.random.Generator) -> bytes:
    """A star, a triangle, a square, crossed lines or a scribble; no circles or strokes, which could be digits."""
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
    """A part of the sample portrait of matplotlib."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as portrait:
        side = int(rng.integers(100, min(portrait.size)))
        left, top = (int(rng.integers(whole - side + 1)) for whole in portrait.size)
        return encode(portrait.crop((left, top, left + side, top + side)), 85)


OUTLIERS: dict[str, Outlier] = {
    "blank paper": _blank,
    "noise": _noise,
    "textured paper": _texture,
    "dust on paper": _dust,
    "letters": _letter(LETTERS),
    "letters like digits": _letter(LOOK_ALIKES),
    "numbers of two digits": _number,
    "shapes": _shape,
    "parts of a portrait": _photograph,
}
