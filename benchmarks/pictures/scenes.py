"""Scenes: ink on paper, lit and photographed, as a PNG or JPEG."""

import io
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from benchmarks.pictures.ink import Ink

Colour = tuple[int, int, int]
Levels = npt.NDArray[np.float64]  # [height, width, 3], 0..255

WHITE: Colour = (238, 236, 230)
BLACK: Colour = (40, 40, 48)


class Lines(Enum):
    """Straight lines around a drawing."""

    none = "none"
    frame = "frame"  # a closed rectangle, with paper on both sides
    cell = "cell"  # a cell of a form, cropped so that some of its lines are visible
    touched = "touched"  # a cell whose line the drawing touches


@dataclass(frozen=True)
class Look:
    """The look of a picture. If a field has several values or a range, each picture draws its own value.

    Attributes:
        size: height and width of the picture, in pixels.
        height: the smallest and the largest height of the drawing, as a fraction of the picture's height.
        angle: the largest rotation of the drawing, in degrees.
        papers: the colours of the paper.
        inks: the colours of the ink.
        opaque: the opacity of the ink, 0..1.
        shade: how much darker the darkest corner is than the lightest, 0..1, due to a gradient and a vignette.
        shadow: how much darker the picture is beyond the edge of a shadow, 0..1.
        table: whether there is a dark table around the paper.
        grid: ruled lines on the paper: 0 for none, 1 for horizontal lines, 2 for lines in both directions.
        noise: standard deviation of the sensor's noise, in levels.
        quality: the quality of the JPEG; None for a PNG.
        rule: the share of the paper's light that the lines of the grid leave, in each colour.
        edges: how many sides of the picture the drawing touches; 2 is a corner.
        lines: straight lines around the drawing, in the colour of the ink.
        soft: the smallest and the largest standard deviation of the lens's blur, as a fraction of the drawing's height.
        shown: the side to which the picture is reduced after it was cropped to a square; None to leave it unchanged.
    """

    size: tuple[int, int] = (480, 640)
    height: tuple[float, float] = (0.35, 0.75)
    angle: float = 0
    papers: tuple[Colour, ...] = (WHITE,)
    inks: tuple[Colour, ...] = (BLACK,)
    opaque: float = 1
    shade: float = 0
    shadow: float = 0
    table: bool = False
    grid: int = 0
    noise: float = 0
    quality: int | None = None
    rule: tuple[float, float, float] = (0.72, 0.82, 0.93)
    edges: int = 0
    lines: Lines = Lines.none
    soft: tuple[float, float] = (0, 0)
    shown: int | None = None


def encode(picture: Image.Image, quality: int | None = None) -> bytes:
    """Encode a picture as a PNG, uncompressed because this takes the least time, or as a JPEG of a given quality."""
    file = io.BytesIO()
    if quality is None:
        picture.save(file, "PNG", compress_level=0)
    else:
        picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def photograph(ink: Ink, look: Look, rng: np.random.Generator) -> bytes:
    """Make the file of a scene.

    Args:
        ink: the drawing, which is scaled to the height that the look asks for.
        look: the look of the scene.
        rng: chooses what the look leaves open.
    """
    height, width = look.size
    paper, colour = (np.array(choices[rng.integers(len(choices))], float) for choices in (look.papers, look.inks))
    scene = np.broadcast_to(paper, (height, width, 3)).copy()
    for across in range(look.grid):
        scene = _ruled(scene, across, look.rule, rng)
    drawing = _placed(ink, look, rng)
    part = (slice(None), slice(None))
    if look.lines is not Lines.none:
        drawing, part = _lined(drawing, look.lines, rng)
    cover = look.opaque * drawing[..., np.newaxis]
    scene *= 1 - cover
    scene += colour * cover
    if look.table:
        scene = _on_table(scene, rng)
    scene *= _light(look, rng)[..., np.newaxis]
    if look.soft[1]:
        sigma = rng.uniform(*look.soft) * np.count_nonzero(drawing.any(axis=1))
        scene = gaussian_filter(scene, (sigma, sigma, 0), mode="nearest")
    scene += rng.normal(0, look.noise, scene.shape) if look.noise else 0
    picture = Image.fromarray(np.clip(scene[part], 0, 255).round().astype(np.uint8))
    return encode(picture if look.shown is None else _reduced(picture, drawing, look.shown, rng), look.quality)


def _placed(ink: Ink, look: Look, rng: np.random.Generator) -> Ink:
    """The drawing, rotated, scaled and at a random position inside the picture."""
    height, width = look.size
    side = round(rng.uniform(*look.height) * height)
    drawing = Image.fromarray(np.pad(ink, len(ink) // 5).astype(np.float32)).resize(
        (round(1.4 * side),) * 2, Image.Resampling.HAMMING
    )
    turned = np.asarray(drawing.rotate(rng.uniform(-look.angle, look.angle), Image.Resampling.BILINEAR))
    rows, columns = (np.flatnonzero(turned.max(axis=axis) > 0.01) for axis in (1, 0))
    turned = turned[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if rows.size else turned[:1, :1]
    margin = 0.12 if look.table else 0.02
    top, left = (
        round(rng.uniform(margin * whole, max((1 - margin) * whole - part, margin * whole)))
        for whole, part in zip(look.size, turned.shape, strict=True)
    )
    if look.edges:
        first = rng.integers(2)
        top = _at_edge(height, turned.shape[0], rng) if first or look.edges == 2 else top
        left = _at_edge(width, turned.shape[1], rng) if not first or look.edges == 2 else left
    placed = np.zeros(look.size)
    turned = turned[: height - top, : width - left]
    placed[top : top + turned.shape[0], left : left + turned.shape[1]] = turned
    return np.clip(placed, 0, 1)


def _at_edge(whole: int, part: int, rng: np.random.Generator) -> int:
    """The start of a drawing that touches one of two opposite sides."""
    return max(0, whole - part) if rng.integers(2) else 0


def _lined(drawing: Ink, lines: Lines, rng: np.random.Generator) -> tuple[Ink, tuple[slice, slice]]:
    """The drawing with straight lines around it, and the visible part of the picture."""
    spans = [np.flatnonzero(drawing.max(axis=axis) > 0.5) for axis in (1, 0)]
    high = max(len(span) for span in spans)
    wide = max(2, round(high * rng.uniform(0.015, 0.05)))
    gap = [[round(high * rng.uniform(0.06, 0.25)) for _ in range(2)] for _ in range(2)]
    if lines is Lines.touched:
        gap[rng.integers(2)][rng.integers(2)] = -wide // 2
    outer = [(span[0] - near - wide, span[-1] + 1 + far + wide) for span, (near, far) in zip(spans, gap, strict=True)]
    ends = [(max(0, start), end) for start, end in outer] if lines is Lines.frame else [(0, None), (0, None)]
    lined = drawing.copy()
    for axis, (start, end) in enumerate(outer):
        along = slice(*ends[1 - axis])
        for at in (start, end - wide):
            np.moveaxis(lined, axis, 0)[max(0, at) : max(0, at + wide), along] = 1
    if lines is Lines.frame:
        return lined, (slice(None), slice(None))
    shown = [
        (max(0, start - round(wide * rng.uniform(-1, 3))), end + round(wide * rng.uniform(-1, 3)))
        for start, end in outer
    ]
    return lined, (slice(*shown[0]), slice(*shown[1]))


def _reduced(picture: Image.Image, drawing: Ink, side: int, rng: np.random.Generator) -> Image.Image:
    """A square a little larger than the drawing, cropped and reduced to a given side."""
    spans = [np.flatnonzero(drawing.max(axis=axis) > 0.5) for axis in (1, 0)]
    square = min(round(max(np.ptp(span) for span in spans) * rng.uniform(1.2, 1.8)), *picture.size)
    left, top = (
        int(np.clip((span[0] + span[-1]) / 2 - square / 2 + rng.uniform(-0.08, 0.08) * square, 0, whole - square))
        for span, whole in zip(reversed(spans), picture.size, strict=True)
    )
    return picture.resize((side, side), Image.Resampling.BILINEAR, (left, top, left + square, top + square))


def _ruled(scene: Levels, across: int, rule: tuple[float, float, float], rng: np.random.Generator) -> Levels:
    """Draw ruled lines on the paper, a twelfth of its height apart."""
    height = scene.shape[0]
    apart, wide = height / 12, max(1, round(height / 300))
    for line in np.arange(rng.uniform(0, apart), scene.shape[across], apart).round().astype(int):
        np.moveaxis(scene, across, 0)[line : line + wide] *= rule
    return scene


def _on_table(scene: Levels, rng: np.random.Generator) -> Levels:
    """Lay the paper, slightly rotated, on a brown table, which is visible on at least two sides."""
    height, width = scene.shape[:2]
    table = np.array((88, 62, 44)) + rng.normal(0, 6, (height, 1, 1))  # the table has a grain
    y, x = np.mgrid[:height, :width] / height
    slope = rng.uniform(-0.06, 0.06)
    edges = [x + slope * y, width / height - x - slope * y, y - slope * x, 1 - y + slope * x]
    shown = rng.permutation([rng.uniform(0.04, 0.1), rng.uniform(0.04, 0.1), rng.uniform(0, 0.1), 0])
    on_paper = np.all([edge > at for edge, at in zip(edges, shown, strict=True)], axis=0)
    return np.where(on_paper[..., np.newaxis], scene, table)


def _light(look: Look, rng: np.random.Generator) -> Ink:
    """The brightness of each pixel: a gradient, a vignette, and a shadow with a soft edge."""
    height, width = look.size
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    gradient = (x * np.cos(turn) + y * np.sin(turn)) / 2**0.5
    light: Ink = 1 - look.shade * ((gradient + 1) / 2 * 0.7 + (x**2 + y**2) / 2 * 0.3)
    turn, at = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    dark = Image.fromarray(((x * np.cos(turn) + y * np.sin(turn)) > at).astype(np.uint8) * 255)
    light *= 1 - look.shadow * np.asarray(dark.filter(ImageFilter.GaussianBlur(height / 80)), float) / 255
    return light
